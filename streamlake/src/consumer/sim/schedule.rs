//! A schedule: the settings of a world and what happens in it, each as a few bytes that mean something on
//! their own, so that a schedule that fails can be cut down.

/// SplitMix64: small, fast, and the same everywhere.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// One thing that happens: what it is, and three numbers that say to whom and how.
pub(super) type Step = [u8; 4];

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) settings: [u8; 12],
    pub(super) steps: Vec<Step>,
}

impl Schedule {
    pub(super) fn of(seed: u64) -> Schedule {
        // Neighbouring seeds begin far from each other.
        let mut random = Random(Random(seed).next());
        let mut settings = [0; 12];
        settings.fill_with(|| random.next() as u8);
        let length = 20 + random.next() as usize % 120;
        let steps = (0..length).map(|_| (random.next() as u32).to_le_bytes()).collect();
        Schedule { settings, steps }
    }

    /// The shortest schedule that can be found that still fails: steps are left out, in ever smaller
    /// pieces, then numbers are made 0.
    pub(super) fn shrunk(mut self, mut fails: impl FnMut(&Schedule) -> bool) -> Schedule {
        let mut piece = self.steps.len().max(1);
        loop {
            let mut from = 0;
            let mut shorter = false;
            while from < self.steps.len() {
                let mut attempt = self.clone();
                attempt.steps.drain(from..(from + piece).min(attempt.steps.len()));
                if fails(&attempt) {
                    self = attempt;
                    shorter = true;
                } else {
                    from += piece;
                }
            }
            if piece > 1 {
                piece /= 2;
            } else if !shorter {
                break;
            }
        }
        for index in 0..self.settings.len() {
            let mut attempt = self.clone();
            attempt.settings[index] = 0;
            if attempt != self && fails(&attempt) {
                self = attempt;
            }
        }
        for index in 0..self.steps.len() * 3 {
            let mut attempt = self.clone();
            attempt.steps[index / 3][1 + index % 3] = 0;
            if attempt != self && fails(&attempt) {
                self = attempt;
            }
        }
        self
    }
}
