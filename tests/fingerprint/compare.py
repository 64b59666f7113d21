"""compare.py OURS [THEIRS] [--known FILE] [--record FILE]: compares sets of ClientHellos field by field.

OURS and THEIRS hold one hello per line in hex; THEIRS begins with a line that names the browser's version. FILE is a summary of
an earlier browser (JSON), written by --record. Exit code 0: ours equals what it is compared with. 1: it does not; every field that
differs is printed. 3: ours equals the summary, but the live browser has moved on; what moved is printed.
"""

import argparse
import json
import sys

from hello import Hello, constants, randomness


def read(path: str) -> list[Hello]:
    with open(path, encoding="ascii") as lines:
        return [Hello(bytes.fromhex(line)) for line in lines if line.strip() and "." not in line]


def differences(ours: dict, theirs: dict) -> list[str]:
    lines = []
    for field in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(field, ["absent"]), theirs.get(field, ["absent"])
        if mine != other:
            lines.append(f"  {field}:\n    ours   {mine}\n    theirs {other}")
    return lines


parser = argparse.ArgumentParser()
parser.add_argument("ours")
parser.add_argument("theirs", nargs="?")
parser.add_argument("--known")
parser.add_argument("--record")
options = parser.parse_args()

hellos = read(options.ours)
mine = constants(hellos)
if options.record:
    with open(options.ours, encoding="ascii") as lines:
        version = lines.readline().strip()
    with open(options.record, "w", encoding="utf-8") as out:
        json.dump({"version": version, "hellos": len(hellos), "fields": mine}, out, indent=1)
        out.write("\n")
    sys.exit(0)

failed = False
print(f"ours: {len(hellos)} hellos, JA4 {mine['JA4']}, JA3 with sorted extensions {mine['JA3 with sorted extensions']}")
for complaint in randomness(hellos):
    print("  not random enough:", complaint)
    failed = True

known = json.load(open(options.known, encoding="utf-8")) if options.known else None
if known:
    lines = differences(mine, known["fields"])
    print(f"against the summary of {known['version']}:", "equal" if not lines else "DIFFERENT", *lines, sep="\n" if lines else " ")
    failed |= bool(lines)

moved = False
if options.theirs:
    with open(options.theirs, encoding="ascii") as lines:
        version = lines.readline().strip()
    browser = read(options.theirs)
    for complaint in randomness(browser):
        print("  the browser's hellos are not what we think a browser's are:", complaint)
        failed = True
    lines = differences(mine, constants(browser))
    print(f"against {len(browser)} live hellos of {version}:", "equal" if not lines else "DIFFERENT", *lines, sep="\n" if lines else " ")
    if lines and known and version.split(".")[0] != known["version"].split(".")[0] and not failed:
        print(f"THE BROWSER HAS MOVED ON from {known['version']} to {version}: take the table from it")
        moved = True
    else:
        failed |= bool(lines)
sys.exit(1 if failed else 3 if moved else 0)
