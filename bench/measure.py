"""Runs a command and writes what it cost as JSON to the file named first: wait4 counts the children too."""
import json, os, subprocess, sys, time

result, command = sys.argv[1], sys.argv[2:]
started = time.monotonic()
child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
wall = time.monotonic() - started
with open(result, "w") as file:
    json.dump(
        {
            "exitCode": os.waitstatus_to_exitcode(status),
            "wall": wall,
            "cpu": usage.ru_utime + usage.ru_stime,
            "peak": usage.ru_maxrss * 1024,
        },
        file,
    )
