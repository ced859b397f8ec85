"""Runs a program and writes the peak memory of it (or of a child of it), in KiB, to a file.

Arguments: the file, then the program with its arguments.
"""

import resource
import subprocess
import sys

finished = subprocess.run(sys.argv[2:], check=False)
with open(sys.argv[1], 'w', encoding='utf8') as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(finished.returncode)
