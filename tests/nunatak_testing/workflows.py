"""Tools that run SQL by schedule or by plan, in processes and environments of their own: dbt and Airflow."""

import json
import os
import subprocess

from nunatak_testing.server import ROOT

DBT = ROOT / ".cache/dbt/bin/dbt"
AIRFLOW_PYTHON = ROOT / ".cache/airflow/bin/python"
SECONDS_MAX = 300


class Dbt:
    """A project of dbt over a server: `run("seed")` gives the outcome of each node by its name, once dbt has ended."""

    def __init__(self, server, project, folder):
        self.project, self.target = project, folder / "target"
        self.environment = os.environ | {
            "NUNATAK_HTTP_PORT": server.http.rpartition(":")[2],
            "DBT_PROFILES_DIR": str(project),
            "DBT_PROJECT_DIR": str(project),
            "DBT_TARGET_PATH": str(self.target),
            "DBT_LOG_PATH": str(folder / "logs"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "DBT_VERSION_CHECK": "false",
        }

    def run(self, *arguments, fails=False):
        ran = subprocess.run([DBT, "--quiet", *arguments], capture_output=True, text=True, env=self.environment, timeout=SECONDS_MAX)
        assert (ran.returncode != 0) == fails, ran.stdout + ran.stderr
        return {result["unique_id"].split(".")[2]: (result["status"], result["failures"] or 0) for result in self.artifact("run_results")["results"]}

    def artifact(self, name):
        """One of the files that dbt leaves: `run_results`, `catalog`, `sources`."""
        return json.loads((self.target / f"{name}.json").read_text())


def airflow(server, dags, folder, *arguments):
    """Runs Python in Airflow's environment, with the DAGs of a folder, a metadata database of its own and the connection `lake` to a server. Gives what it has written."""
    host, port = server.http.split(":")
    connection = {"conn_type": "trino", "host": host, "port": int(port), "login": "ada", "extra": {"catalog": "lake"}}
    environment = os.environ | {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.sqlite",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW_CONN_LAKE": json.dumps(connection),
    }
    ran = subprocess.run([AIRFLOW_PYTHON, *arguments], capture_output=True, text=True, env=environment, timeout=SECONDS_MAX)
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-5000:]
    return ran.stdout
