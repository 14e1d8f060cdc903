"""Runs the DAG of a file for the hours that are named, one after the other, as `airflow dags test` does: run.py FILE HOUR=FARE..."""

import datetime
import runpy
import sys

from airflow.utils.db import initdb

if __name__ == "__main__":
    file, *hours = sys.argv[1:]
    initdb()
    dag = runpy.run_path(file)["dag"]
    for hour, fare in (argument.split("=") for argument in hours):
        run = dag.test(logical_date=datetime.datetime.fromisoformat(hour), run_conf={"fare": fare})
        print(f"{hour} {run.state}", flush=True)
