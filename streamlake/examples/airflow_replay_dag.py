"""Replay a range of a dataset into the raw zone: stop the consumers, set the offsets back, start them.

`streamlake replay` answers with one JSON document and exit code 0 (done), 3 (refused: members are
still active, or records would be skipped) or 1 (try again later). A refusal is worth a retry, because
a group takes up to its session timeout to see its members go.
"""

from datetime import datetime, timedelta

from airflow import DAG
from airflow.models.param import Param
from airflow.operators.bash import BashOperator

with DAG(
    dag_id="streamlake_replay",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    params={
        "dataset": Param("orders", type="string"),
        "from_time": Param("2026-01-21T00:00:00Z", type="string", format="date-time"),
    },
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
) as dag:
    replay = "streamlake replay --dataset {{ params.dataset }} --from-time {{ params.from_time }}"
    stop = BashOperator(
        task_id="stop_consumers",
        bash_command="kubectl scale statefulset/streamlake-{{ params.dataset }} --replicas=0 --timeout=60s",
    )
    show = BashOperator(task_id="show_plan", bash_command=f"{replay} --dry-run", do_xcom_push=True)
    reset = BashOperator(task_id="reset_offsets", bash_command=replay)
    start = BashOperator(
        task_id="start_consumers",
        bash_command="kubectl scale statefulset/streamlake-{{ params.dataset }} --replicas=3",
        trigger_rule="all_done",  # the consumers come back whatever became of the replay
    )
    stop >> show >> reset >> start
