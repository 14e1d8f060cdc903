"""Checks that a Java program of one file makes through a JDBC driver, all of them in one JVM: it prints `ok NAME`, or `FAILED NAME: why` and where, for each."""

import re
import subprocess


def names(source):
    """The names of the checks of a program."""
    return re.findall(r'CHECKS\.put\("(\w+)"', source.read_text())


def outcomes(source, driver, url, *options):
    """What the program says of each check, by name; all that it has printed under `output` if it says nothing of any."""
    command = ["java", "-Duser.timezone=UTC", *options, "-cp", driver, source, url]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    parts = re.split(r"^(?=ok |FAILED )", run.stdout, flags=re.MULTILINE)
    return {part.split()[1].strip(":"): part for part in parts[1:]} or {"output": run.stdout}
