'use strict';
(() => {
  const views = JSON.parse(document.getElementById('data').textContent);
  const $ = (id) => document.getElementById(id);
  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const seconds = (us) => (us / 1e6).toFixed(us < 1e5 ? 4 : 3) + ' s';
  const compare = views.length > 1;
  const mark = (view) => (compare ? `run ${views.indexOf(view) + 1}: ` : '');

  // ------------------------------------------------------------ rows become things with names

  const place = (topic, partition, offset) => `${topic}/${partition}/${offset}`;

  for (const view of views) {
    const text = (number) => view.texts[number];
    view.operations = view.operations.map(
      ([op, process, topic, key, bytes, poison, invoked, completed, outcome, partition, offset, told]) => ({
        op, process: text(process), topic: text(topic), key, bytes, poison, invoked, completed, outcome,
        partition, offset, told,
      }));
    view.objects = view.objects.map(([zone, name, at, bytes, part, watched]) => (
      { zone: text(zone), name, at, bytes, part, watched }));
    view.commits = view.commits.map(([group, topic, partition, offset, at, exact]) => (
      { group: text(group), topic: text(topic), partition, offset, at, exact }));
    view.positions = view.positions.map(([group, member, topic, partition, offset, at, how]) => (
      { group: text(group), member: text(member), topic: text(topic), partition, offset, at, how }));
    view.generations = view.generations.map(([at, group, generation, members]) => (
      { at, group: text(group), generation, members }));
    view.processes = view.processes.map(([name, at, change, detail]) => ({ name: text(name), at, change, detail }));
    view.probes = view.probes.map(([at, target, answered]) => ({ at, target: text(target), answered }));

    // Every record by its place: what the log, the raw zones and the dead-letter topics hold of it.
    view.records = new Map();
    view.byOperation = new Map();
    const record = (topic, partition, offset) => {
      const name = place(topic, partition, offset);
      let found = view.records.get(name);
      if (!found) {
        found = { view, topic, partition, offset, operations: [], logged: null, stored: [], letters: [] };
        view.records.set(name, found);
      }
      return found;
    };
    for (const operation of view.operations) {
      const entry = { view, operation, record: null };
      view.byOperation.set(operation.op, entry);
      if (operation.offset !== null) {
        entry.record = record(operation.topic, operation.partition, operation.offset);
        entry.record.operations.push(operation);
      }
    }
    for (const [topic, partition, offset, op, key, stamped] of view.log) {
      const found = record(text(topic), partition, offset);
      found.logged = { op, key, stamped };
      const entry = view.byOperation.get(op);
      if (entry && !entry.record) {
        entry.record = found;
        found.operations.push(entry.operation);
      }
    }
    for (const [object, line, topic, partition, offset] of view.stored) {
      record(text(topic), partition, offset).stored.push({ object: view.objects[object], line });
    }
    view.loose = [];
    for (const [group, partition, offset, at, source, op, why] of view.letters) {
      const letter = { group: group === null ? 'a producer' : text(group), partition, offset, at, op, why };
      if (source) record(text(source[0]), source[1], source[2]).letters.push(letter);
      else view.loose.push(letter);
    }
  }

  // ------------------------------------------------------------ lanes

  const end = Math.max(1, ...views.map((view) => view.end_us));
  const shown = { from: 0, to: end };
  const kinds = { faults: true, processes: true, producers: false, partitions: true, parts: true, groups: true };
  let lanes = [];
  let selected = null;
  let width = 800;
  const LEFT = 118;

  const groupBy = (list, name) => {
    const groups = new Map();
    for (const item of list) {
      const key = name(item);
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(item);
    }
    return groups;
  };

  // When a record came into the log: the receipt tells; else its timestamp, if that lies within the run.
  const appended = (found) => {
    const receipt = found.operations.find((operation) => operation.completed !== null);
    if (receipt) return receipt.completed;
    const stamped = found.logged ? found.logged.stamped : null;
    return stamped !== null && stamped >= 0 && stamped <= end ? stamped : null;
  };

  function partitionLane(view, topic, partition, records) {
    const points = [];
    let low = Infinity, high = 0;
    for (const found of records) {
      low = Math.min(low, found.offset);
      high = Math.max(high, found.offset);
      const at = appended(found);
      if (at !== null) points.push({ at, offset: found.offset, kind: 'log', found });
      for (const copy of found.stored) {
        points.push({ at: copy.object.at, offset: found.offset, kind: 'stored', found });
      }
      for (const letter of found.letters) {
        points.push({ at: letter.at, offset: found.offset, kind: 'letter', found });
      }
    }
    points.sort((a, b) => a.at - b.at);
    const commits = groupBy(
      view.commits.filter((commit) => commit.topic === topic && commit.partition === partition),
      (commit) => commit.group);
    for (const list of commits.values()) for (const commit of list) high = Math.max(high, commit.offset);
    const span = Math.max(1, high - low);
    const y = (offset, top, height) => top + height - 6 - ((offset - low) / span) * (height - 12);
    return {
      title: `${mark(view)}${topic.split('.').slice(-2).join('.')} ${partition}`, height: 92, points, y,
      draw(pen, top, x, colour) {
        for (const kind of ['log', 'stored', 'letter']) {
          pen.fillStyle = colour[kind];
          const drawn = new Set();
          for (const point of points) {
            if (point.kind !== kind || point.at < shown.from || point.at > shown.to) continue;
            const px = Math.round(x(point.at)), py = Math.round(y(point.offset, top, this.height));
            const pixel = px * 4096 + py;
            if (drawn.has(pixel)) continue;
            drawn.add(pixel);
            pen.fillRect(px - 1, py - 1, kind === 'letter' ? 4 : 2.5, kind === 'letter' ? 4 : 2.5);
          }
        }
        pen.strokeStyle = colour.commit;
        pen.lineWidth = 1.3;
        for (const list of commits.values()) {
          pen.beginPath();
          let last = null;
          for (const commit of list) {
            const px = Math.max(LEFT, Math.min(width, x(commit.at))), py = y(commit.offset, top, this.height);
            if (last === null) pen.moveTo(px, py);
            else { pen.lineTo(px, last); pen.lineTo(px, py); }
            last = py;
          }
          if (last !== null) pen.lineTo(Math.min(width, x(shown.to)), last);
          pen.stroke();
        }
      },
    };
  }

  function build() {
    lanes = [];
    for (const view of views) {
      if (kinds.faults && view.faults.length) {
        lanes.push({
          title: `${mark(view)}faults`, height: 14 + 16 * view.faults.length, points: [],
          draw(pen, top, x, colour) {
            view.faults.forEach((fault, row) => {
              if (!fault.steps.length) return;
              const at = (name) => { const step = fault.steps.find((one) => one[1] === name); return step && step[0]; };
              const first = fault.steps[0][0], last = fault.steps[fault.steps.length - 1][0];
              const y = top + 6 + 16 * row;
              pen.fillStyle = colour.fault;
              pen.fillRect(x(first), y, Math.max(2, x(last) - x(first)), 14);
              const seen = at('seen');
              if (seen !== undefined) {
                pen.fillStyle = colour.seen;
                const until = at('healing') ?? last;
                pen.fillRect(x(seen), y, Math.max(2, x(until) - x(seen)), 14);
              }
              pen.fillStyle = colour.fg;
              const missed = at('missed') === undefined ? '' : ' (missed)';
              pen.fillText(`${fault.kind} on ${fault.target}${missed}`, Math.max(LEFT + 4, x(first) + 3), y + 11);
            });
          },
        });
        lanes[lanes.length - 1].points = view.faults.flatMap((fault, row) =>
          fault.steps.map((step) => ({ at: step[0], row: 6 + 16 * row + 7, kind: 'fault', fault, view })));
      }
      if (kinds.processes) {
        const names = groupBy(view.processes, (process) => process.name);
        const rows = [...names];
        const points = rows.flatMap(([, list], row) =>
          list.map((process) => ({ at: process.at, row: 13 + 18 * row, kind: 'process', process, view })));
        if (rows.length) {
          lanes.push({
            title: `${mark(view)}processes`, height: 8 + 18 * rows.length, points,
            draw(pen, top, x, colour) {
              rows.forEach(([name, list], row) => {
                const y = top + 6 + 18 * row;
                list.forEach((process, number) => {
                  const until = number + 1 < list.length ? list[number + 1].at : end;
                  if (process.change === 'exited') {
                    pen.fillStyle = process.detail === 'exit code 0' ? colour.dim : colour.found;
                    pen.fillRect(x(process.at) - 1, y, 3, 14);
                    return;
                  }
                  pen.fillStyle = process.change === 'stopped' ? colour.frozen : colour.proc;
                  pen.fillRect(x(process.at), y, Math.max(1, x(until) - x(process.at)), 14);
                });
                pen.fillStyle = colour.fg;
                pen.fillText(name, Math.max(LEFT + 4, x(list[0].at) + 3), y + 11);
              });
            },
          });
        }
      }
      if (kinds.producers) {
        for (const [name, list] of groupBy(view.operations, (operation) => operation.process)) {
          const points = list.map((operation) => ({ at: operation.invoked, kind: 'operation', operation, view }));
          lanes.push({
            title: `${mark(view)}${name}`, height: 34, points,
            draw(pen, top, x, colour) {
              const by = { acknowledged: colour.log, rejected: colour.letter, failed: colour.found, unknown: colour.commit, open: colour.found };
              for (const { operation } of points) {
                if ((operation.completed ?? end) < shown.from || operation.invoked > shown.to) continue;
                pen.fillStyle = by[operation.outcome];
                const from = x(operation.invoked), to = x(operation.completed ?? end);
                pen.fillRect(from, top + 6 + (operation.op % 4) * 6, Math.max(1.5, to - from), 4);
              }
            },
          });
        }
      }
      if (kinds.partitions) {
        const partitions = groupBy(view.records.values(), (found) => `${found.topic} ${found.partition}`);
        for (const name of [...partitions.keys()].sort()) {
          const records = partitions.get(name);
          lanes.push(partitionLane(view, records[0].topic, records[0].partition, records));
        }
      }
      if (kinds.parts) {
        for (const [zone, list] of groupBy(view.objects.filter((object) => object.part), (object) => object.zone)) {
          lanes.push({
            title: `${mark(view)}parts`, height: 30,
            points: list.map((object) => ({ at: object.at, kind: 'object', object, view, zone })),
            draw(pen, top, x, colour) {
              pen.fillStyle = colour.stored;
              for (const object of list) if (object.at >= shown.from && object.at <= shown.to) pen.fillRect(x(object.at), top + 6, 1.5, 18);
            },
          });
        }
      }
      if (kinds.groups && view.generations.length + view.positions.length) {
        const points = view.positions.map((position) => ({ at: position.at, kind: 'position', position, view }))
          .concat(view.generations.map((generation) => ({ at: generation.at, kind: 'generation', generation, view })));
        lanes.push({
          title: `${mark(view)}group`, height: 34, points,
          draw(pen, top, x, colour) {
            for (const point of points) {
              if (point.at < shown.from || point.at > shown.to) continue;
              pen.fillStyle = point.kind === 'generation' ? colour.fg : colour.commit;
              pen.fillRect(x(point.at), point.kind === 'generation' ? top + 4 : top + 18, 2, 12);
              if (point.kind === 'generation') pen.fillText(String(point.generation.generation), x(point.at) + 4, top + 13);
            }
          },
        });
      }
    }
  }

  // ------------------------------------------------------------ drawing

  const canvas = $('canvas');
  const pen = canvas.getContext('2d');
  const AXIS = 22;

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const colour = {};
    for (const name of ['bg', 'fg', 'dim', 'line', 'log', 'stored', 'commit', 'letter', 'found', 'fault', 'seen', 'proc', 'frozen']) {
      colour[name] = style.getPropertyValue('--' + name).trim();
    }
    return colour;
  }

  const scale = (at) => LEFT + ((at - shown.from) / (shown.to - shown.from)) * (width - LEFT);
  const instant = (px) => shown.from + ((px - LEFT) / (width - LEFT)) * (shown.to - shown.from);

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    width = Math.max(260, canvas.clientWidth);
    const height = AXIS + lanes.reduce((sum, lane) => sum + lane.height, 0) + 4;
    canvas.style.height = height + 'px';
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const colour = colours();
    pen.font = '11px system-ui, sans-serif';
    pen.fillStyle = colour.bg;
    pen.fillRect(0, 0, width, height);

    const span = shown.to - shown.from;
    const step = [1, 2, 5, 10, 20, 50, 1e2, 2e2, 5e2, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 3e7, 6e7, 3e8, 6e8, 3.6e9]
      .find((one) => (one / span) * (width - LEFT) >= 70) || 3.6e9;
    pen.strokeStyle = colour.line;
    pen.fillStyle = colour.dim;
    pen.lineWidth = 1;
    for (let at = Math.ceil(shown.from / step) * step; at <= shown.to; at += step) {
      const px = Math.round(scale(at)) + 0.5;
      pen.beginPath(); pen.moveTo(px, AXIS - 4); pen.lineTo(px, height); pen.stroke();
      pen.fillText((at / 1e6).toFixed(Math.max(0, 6 - Math.floor(Math.log10(step)))) + ' s', px + 3, 13);
    }
    let top = AXIS;
    for (const lane of lanes) {
      lane.top = top;
      pen.save();
      pen.beginPath(); pen.rect(LEFT, top, width - LEFT, lane.height); pen.clip();
      lane.draw(pen, top, scale, colour);
      pen.restore();
      pen.strokeStyle = colour.line;
      pen.beginPath(); pen.moveTo(0, top + 0.5); pen.lineTo(width, top + 0.5); pen.stroke();
      pen.fillStyle = colour.fg;
      pen.fillText(fit(lane.title, LEFT - 8), 4, top + 14);
      top += lane.height;
    }
    pen.fillStyle = colour.found;
    for (const view of views) {
      for (const finding of view.findings) {
        if (finding.at_us === null || finding.at_us < shown.from || finding.at_us > shown.to) continue;
        const px = scale(finding.at_us);
        pen.beginPath(); pen.moveTo(px - 4, AXIS - 8); pen.lineTo(px + 4, AXIS - 8); pen.lineTo(px, AXIS); pen.fill();
      }
    }
    if (selected && selected.at !== null) {
      pen.strokeStyle = colour.found;
      pen.setLineDash([4, 3]);
      pen.beginPath(); pen.moveTo(scale(selected.at), AXIS); pen.lineTo(scale(selected.at), height); pen.stroke();
      pen.setLineDash([]);
    }
    $('span').textContent = `${seconds(shown.from)} – ${seconds(shown.to)}`;
  }

  function fit(text, room) {
    if (pen.measureText(text).width <= room) return text;
    let cut = text;
    while (cut.length > 1 && pen.measureText('…' + cut).width > room) cut = cut.slice(1);
    return '…' + cut;
  }

  // ------------------------------------------------------------ moving

  function show(from, to) {
    const span = Math.min(end, Math.max(20, to - from));
    const start = Math.min(Math.max(0, from), end - span);
    [shown.from, shown.to] = [start, start + span];
    draw();
  }
  const zoom = (factor, around = (shown.from + shown.to) / 2) =>
    show(around - (around - shown.from) * factor, around + (shown.to - around) * factor);
  const move = (share) => { const by = (shown.to - shown.from) * share; show(shown.from + by, shown.to + by); };
  const around = (at) => {
    if (at === null) return;
    const half = Math.min((shown.to - shown.from) / 2, Math.max(250000, end / 20));
    show(at - half, at + half);
  };

  $('in').onclick = () => zoom(0.5);
  $('out').onclick = () => zoom(2);
  $('left').onclick = () => move(-0.3);
  $('right').onclick = () => move(0.3);
  $('all').onclick = () => show(0, end);
  canvas.addEventListener('keydown', (event) => {
    const act = { ArrowLeft: () => move(-0.1), ArrowRight: () => move(0.1), '+': () => zoom(0.5), '=': () => zoom(0.5), '-': () => zoom(2), 0: () => show(0, end) }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  const px = (event) => event.clientX - canvas.getBoundingClientRect().left;
  canvas.addEventListener('wheel', (event) => {
    const aside = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    // The wheel alone scrolls the page, as everywhere.
    if (!aside && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    if (aside) move(Math.sign(event.deltaX || event.deltaY) * 0.1);
    else zoom(event.deltaY < 0 ? 0.8 : 1.25, instant(px(event)));
  }, { passive: false });
  let drag = null;
  canvas.addEventListener('pointerdown', (event) => {
    drag = { px: px(event), from: shown.from, to: shown.to, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener('pointermove', (event) => {
    if (!drag) return;
    const by = px(event) - drag.px;
    if (Math.abs(by) < 4 && !drag.moved) return;
    drag.moved = true;
    const us = (by / (width - LEFT)) * (drag.to - drag.from);
    show(drag.from - us, drag.to - us);
  });
  canvas.addEventListener('pointerup', (event) => {
    const clicked = drag && !drag.moved;
    drag = null;
    if (clicked) pick(px(event), event.clientY - canvas.getBoundingClientRect().top);
  });

  // The nearest thing in the lane that was clicked.
  function pick(x, y) {
    const lane = lanes.find((one) => y >= one.top && y < one.top + one.height);
    if (!lane) return;
    let best = null, distance = 14;
    for (const point of lane.points) {
      const dx = scale(point.at) - x;
      if (Math.abs(dx) > 14) continue;
      const height = lane.y ? lane.y(point.offset, lane.top, lane.height) - y
        : point.row !== undefined ? lane.top + point.row - y : 0;
      const far = Math.hypot(dx, height);
      if (far < distance) [best, distance] = [point, far];
    }
    if (best) tell(best);
  }

  // ------------------------------------------------------------ stories

  function table(rows) {
    const made = element('table');
    for (const [at, text] of rows.filter((row) => row[1])) {
      const row = made.insertRow();
      row.insertCell().textContent = at === null ? '' : seconds(at);
      row.insertCell().textContent = text;
    }
    return made;
  }

  function put(title, rows, at, notes = []) {
    const story = $('story');
    story.replaceChildren(element('h2', title), table(rows), ...notes.map((note) => element('p', note)));
    selected = { at };
    draw();
  }

  const names = (view, finding, found) => finding.operations.includes(found.op) ||
    (finding.topic === found.topic && finding.partition === found.partition &&
      finding.offsets.some(([first, last]) => first <= found.offset && found.offset <= last));

  function tellRecord(found) {
    const { view, topic, partition, offset } = found;
    const rows = [];
    for (const operation of found.operations) {
      rows.push([operation.invoked, `${operation.process} was handed operation ${operation.op}` +
        `${operation.key === null ? ' without a key' : ` with key ${operation.key}`}, ${operation.bytes} bytes${operation.poison ? ', invalid on purpose' : ''}`]);
      rows.push([operation.completed, operation.completed === null ? 'its producer never said what became of it'
        : `${operation.process} said: ${operation.outcome}${operation.offset === null ? '' : ` at ${operation.partition}:${operation.offset}`}${operation.told ? `, ${operation.told}` : ''}`]);
    }
    const at = appended(found);
    if (found.logged) {
      const operation = found.logged.op === null ? 'names no operation' : `names operation ${found.logged.op}`;
      const stamped = found.logged.stamped === null ? 'no timestamp' : `timestamp ${seconds(found.logged.stamped)} after the start`;
      rows.push([at, `stood in the log at the final read: ${operation}, ${stamped}`]);
    } else {
      rows.push([null, view.one_in > 1 ? 'nothing of the log on this page holds it' : 'the log did not hold it at the final read']);
    }
    for (const copy of found.stored) rows.push([copy.object.at, `stored in ${copy.object.name}, line ${copy.line} (${copy.object.zone})`]);
    if (!found.stored.length && !found.letters.length) rows.push([null, 'no part and no dead letter holds it']);
    for (const letter of found.letters) {
      rows.push([letter.at, `dead letter of ${letter.group} at ${letter.partition}:${letter.offset}: ${letter.why}`]);
    }
    const first = Math.min(...found.stored.map((copy) => copy.object.at), ...found.letters.map((letter) => letter.at));
    const done = new Set();
    for (const commit of view.commits) {
      if (commit.topic !== topic || commit.partition !== partition || commit.offset <= offset || done.has(commit.group)) continue;
      done.add(commit.group);
      const early = commit.at < first ? ': BEFORE anything held it' : '';
      rows.push([commit.at, `${commit.group} committed ${commit.offset}, and with it this record${early}`]);
    }
    for (const position of view.positions) {
      if (position.topic !== topic || position.partition !== partition || position.at < first) continue;
      if (position.offset !== null && position.offset > offset) continue;
      rows.push([position.at, `${position.member} was given the position ${position.offset ?? 'that its group begins at'} (${position.how}): from here on it can read this record again`]);
      if (rows.length > 60) break;
    }
    rows.sort((a, b) => (a[0] ?? Infinity) - (b[0] ?? Infinity));
    const operations = new Set(found.operations.map((operation) => operation.op));
    const notes = view.findings.filter((finding) => names(view, finding, found) || finding.operations.some((op) => operations.has(op)))
      .map((finding) => `${finding.check}: ${finding.message}`);
    put(`${mark(view)}${topic}, partition ${partition}, offset ${offset}`, rows, at, notes);
  }

  function tellOperation(view, operation) {
    const entry = view.byOperation.get(operation.op);
    if (entry && entry.record) return tellRecord(entry.record);
    const letters = view.loose.filter((letter) => letter.op === operation.op);
    put(`${mark(view)}operation ${operation.op}`, [
      [operation.invoked, `${operation.process} was handed it for ${operation.topic}${operation.key === null ? '' : `, key ${operation.key}`}, ${operation.bytes} bytes${operation.poison ? ', invalid on purpose' : ''}`],
      [operation.completed, operation.completed === null ? 'its producer never said what became of it' : `${operation.outcome}: ${operation.told}`],
      ...letters.map((letter) => [letter.at, `dead letter of ${letter.group} at ${letter.partition}:${letter.offset}: ${letter.why}`]),
      [null, 'no record of the log is known to be of it'],
    ], operation.invoked);
  }

  function tell(point) {
    const { view } = point;
    switch (point.kind) {
      case 'operation': return tellOperation(view, point.operation);
      case 'object': {
        const held = view.stored.length ? [...view.records.values()].filter((found) => found.stored.some((copy) => copy.object === point.object)) : [];
        const range = held.length ? `${held.length} records shown here, offsets ${Math.min(...held.map((found) => found.offset))} to ${Math.max(...held.map((found) => found.offset))}` : '';
        return put(`${mark(view)}${point.object.name}`, [[point.object.at, `created in ${point.object.zone}, ${point.object.bytes} bytes`], [null, range], [null, point.object.watched ? 'seen while the run went on' : 'read at the end']], point.at);
      }
      case 'fault': return put(`${mark(view)}${point.fault.kind} on ${point.fault.target}`,
        point.fault.steps.flatMap(([at, step, evidence]) => [[at, step], ...evidence.map(([name, value]) => [null, `${name}: ${value}`])]), point.at);
      case 'process': return put(`${mark(view)}${point.process.name}`,
        view.processes.filter((process) => process.name === point.process.name).map((process) => [process.at, `${process.change} ${process.detail}`]), point.at);
      case 'position': return put(`${mark(view)}${point.position.member} in ${point.position.group}`,
        [[point.at, `was given the position ${point.position.offset ?? 'that its group begins at'} in ${point.position.topic}/${point.position.partition} (${point.position.how})`]], point.at);
      case 'generation': return put(`${mark(view)}${point.generation.group}`,
        [[point.at, `generation ${point.generation.generation} with ${point.generation.members} members`]], point.at);
      default: return tellRecord(point.found);
    }
  }

  // ------------------------------------------------------------ findings and search

  function recordsOf(view, finding) {
    const found = [];
    for (const op of finding.operations.slice(0, 20)) {
      const entry = view.byOperation.get(op);
      if (entry) found.push(entry.record || entry.operation);
    }
    for (const [first, last] of finding.offsets) {
      for (let offset = first; offset <= last && found.length < 20; offset += 1) {
        const record = view.records.get(place(finding.topic, finding.partition, offset));
        if (record && !found.includes(record)) found.push(record);
      }
    }
    return found;
  }

  const tellAny = (view, found) => (found.stored ? tellRecord(found) : tellOperation(view, found));

  function item(list, title, small, act) {
    const line = element('li');
    const button = element('button');
    button.append(...title);
    if (small) button.append(element('small', small));
    button.onclick = () => {
      for (const other of document.querySelectorAll('li button[aria-current]')) other.removeAttribute('aria-current');
      button.setAttribute('aria-current', 'true');
      act();
    };
    line.append(button);
    list.append(line);
  }

  let count = 0;
  for (const view of views) {
    for (const finding of view.findings) {
      count += 1;
      const at = finding.at_us === null ? '' : `${seconds(finding.at_us)} · `;
      item($('findings'), [element('span', finding.status, finding.status), ` ${mark(view)}${finding.check}: ${finding.anomaly}`], at + finding.message, () => {
        const records = recordsOf(view, finding);
        around(finding.at_us ?? (records[0] && records[0].stored ? appended(records[0]) : null));
        if (records.length) tellAny(view, records[0]);
        else put(`${mark(view)}${finding.check}: ${finding.anomaly}`, [[finding.at_us, finding.message], ...finding.evidence.map((text) => [null, text])], finding.at_us);
        if (records.length > 1) {
          const more = element('p', 'Also: ');
          for (const other of records.slice(1)) {
            const button = element('button', other.stored ? `${other.partition}:${other.offset}` : `operation ${other.op}`);
            button.onclick = () => tellAny(view, other);
            more.append(button, ' ');
          }
          $('story').append(more);
        }
        if (records.length) $('story').append(...finding.evidence.map((text) => element('p', text)));
      });
    }
  }
  $('count').textContent = `(${count})`;
  if (!count) $('findings').append(element('li', 'None: every check that applies passed.'));

  function find(query) {
    const hits = [];
    const wanted = query.trim();
    if (!wanted) return hits;
    const numbered = wanted.match(/^(\d+):(\d+)$/);
    for (const view of views) {
      if (numbered) {
        for (const found of view.records.values()) if (found.partition === +numbered[1] && found.offset === +numbered[2]) hits.push([view, found]);
        continue;
      }
      if (/^\d+$/.test(wanted) && view.byOperation.has(+wanted)) {
        const entry = view.byOperation.get(+wanted);
        hits.push([view, entry.record || entry.operation]);
      }
      for (const { operation, record } of view.byOperation.values()) {
        if (hits.length >= 100) break;
        if (operation.key === wanted || (operation.told && operation.told.includes(wanted))) hits.push([view, record || operation]);
      }
      for (const found of view.records.values()) {
        if (hits.length >= 100) break;
        const known = hits.some((hit) => hit[1] === found);
        if (!known && ((found.logged && found.logged.key === wanted) || found.stored.some((copy) => wanted.length > 3 && copy.object.name.includes(wanted)))) hits.push([view, found]);
      }
    }
    return hits;
  }

  $('search').onsubmit = (event) => {
    event.preventDefault();
    const hits = find($('query').value);
    $('hits').replaceChildren();
    if (!hits.length) $('hits').append(element('li', 'Nothing on this page is called that.'));
    for (const [view, found] of hits) {
      const title = found.stored ? `${found.topic} ${found.partition}:${found.offset}` : `operation ${found.op}`;
      item($('hits'), [mark(view) + title], '', () => { around(found.stored ? appended(found) : found.invoked); tellAny(view, found); });
    }
    if (hits.length) $('hits').querySelector('button').click();
  };

  // ------------------------------------------------------------ the page

  const words = { pass: 'pass', fail: 'fail', inconclusive: 'inconclusive' };
  $('title').textContent = views.map((view) => view.title || view.scenario).join(' beside ');
  document.title = `${$('title').textContent}: history`;
  for (const view of views) {
    const line = element('span', `${mark(view)}${view.scenario} on ${view.testbed}, seed ${view.seed}, ${view.started_at}: `);
    $('run').append(line, element('span', view.verdict, words[view.verdict] || ''), ' ');
  }
  const sampled = views.filter((view) => view.one_in > 1);
  if (sampled.length) {
    $('sample').hidden = false;
    $('sample').textContent = sampled.map((view) => `${mark(view)}a long run: one operation in ${view.one_in} is shown, and every one that a finding names.`).join(' ');
  }
  for (const kind of Object.keys(kinds)) {
    const label = element('label');
    const box = element('input');
    box.type = 'checkbox';
    box.checked = kinds[kind];
    box.onchange = () => { kinds[kind] = box.checked; build(); draw(); };
    label.append(box, ` ${kind}`);
    $('lanes').append(label);
  }
  build();
  draw();
  window.addEventListener('resize', draw);
  window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  if (views.length === 1) show(0, end);
})();
