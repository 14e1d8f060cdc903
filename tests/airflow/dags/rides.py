"""An hour of rides at a time: made once, read into a table, merged, checked."""

import datetime

from airflow.providers.common.sql.operators.sql import SQLCheckOperator, SQLColumnCheckOperator, SQLExecuteQueryOperator, SQLTableCheckOperator
from airflow.providers.common.sql.sensors.sql import SqlSensor
from airflow.providers.trino.hooks.trino import TrinoHook
from airflow.sdk import DAG, task

LAKE = {"conn_id": "lake"}
TABLE = "lake.flow.rides"

with DAG("rides", schedule="@hourly", start_date=datetime.datetime(2024, 5, 1), catchup=False, default_args={"owner": "ada"}) as dag:
    made = SQLExecuteQueryOperator(
        task_id="made",
        sql=[
            "CREATE SCHEMA IF NOT EXISTS lake.flow",
            "CREATE TABLE IF NOT EXISTS lake.flow.log (id bigint, text varchar)",
            f"CREATE TABLE IF NOT EXISTS {TABLE} (id bigint, hour timestamp(6), city varchar, fare decimal(9, 2)) WITH (partitioning = ARRAY['day(hour)'])",
        ],
        **LAKE,
    )
    there = SqlSensor(task_id="there", sql="SELECT count(*) FROM information_schema.tables WHERE table_schema = 'flow' AND table_name = 'rides'", poke_interval=1, timeout=30, **LAKE)
    merged = SQLExecuteQueryOperator(
        task_id="merged",
        sql=f"""
            MERGE INTO {TABLE} AS t USING (
                SELECT n AS id, TIMESTAMP '{{{{ logical_date.strftime('%Y-%m-%d %H:00:00') }}}}' AS hour, city, CAST(? AS decimal(9, 2)) * n AS fare
                FROM (VALUES (1, 'Oslo'), (2, 'København'), (3, NULL)) AS v(n, city)
            ) AS s ON t.id = s.id AND t.hour = s.hour
            WHEN MATCHED THEN UPDATE SET fare = s.fare
            WHEN NOT MATCHED THEN INSERT (id, hour, city, fare) VALUES (s.id, s.hour, s.city, s.fare);
        """,
        parameters=["{{ dag_run.conf.get('fare', '12.50') }}"],
        **LAKE,
    )
    columns = SQLColumnCheckOperator(
        task_id="columns",
        table=TABLE,
        partition_clause="hour = TIMESTAMP '{{ logical_date.strftime('%Y-%m-%d %H:00:00') }}'",
        column_mapping={"id": {"null_check": {"equal_to": 0}, "distinct_check": {"equal_to": 3}, "max": {"leq_to": 3}}, "fare": {"min": {"greater_than": 0}}},
        **LAKE,
    )
    table = SQLTableCheckOperator(
        task_id="table",
        table=TABLE,
        checks={"rows": {"check_statement": "COUNT(*) >= 3"}, "cities": {"check_statement": "city IS NULL OR length(city) > 3"}},
        **LAKE,
    )
    some = SQLCheckOperator(task_id="some", sql=f"SELECT count(*), sum(fare) > 0 FROM {TABLE}", **LAKE)

    @task
    def logged(logical_date=None):
        hook = TrinoHook(trino_conn_id="lake")
        rows = hook.get_records(f"SELECT city, count(*) FROM {TABLE} WHERE hour = ? GROUP BY city", [logical_date.naive()])
        hook.insert_rows("lake.flow.log", [(count, city) for city, count in rows], target_fields=["id", "text"])

    made >> there >> merged >> [columns, table, some] >> logged()
