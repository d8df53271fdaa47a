#!/usr/bin/env python3
"""Runs the tests and closes with "N passed, N failed, N skipped".

    test/run.py                 everything that needs nothing special
    test/run.py unit [PATTERN]  unit tests and corpus replay, plain build
    test/run.py gates | asan | tsan | system [PATTERN] | interop [PATTERN]

Every unit-test program, gate and Python test method counts as one. What failed is named, with the place of its output, before the last line.
"""
import json
import os
import pathlib
import subprocess
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
os.chdir(ROOT)
OUT = ROOT / "build-test-output"


class Tally:
    """What passed, failed and was skipped, over all stages."""

    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []

    def add(self, name, ok, detail=""):
        if ok:
            self.passed += 1
        else:
            self.failed.append((name, detail))
        print(f"{'ok  ' if ok else 'FAIL'} {name}{'' if ok else '  ' + detail}", flush=True)

    def skip(self, name, why):
        self.skipped.append((name, why))
        print(f"skip {name}: {why}", flush=True)


SKIPPED = 77  # exit status of a test program that cannot run in this build, as Meson has it


def logged_status(name, command, env=None, timeout=1500):
    """Runs command with its output in a file; returns (exit status, path of the output)."""
    OUT.mkdir(exist_ok=True)
    path = OUT / (name.replace("/", "_").replace(" ", "_") + ".log")
    with open(path, "w") as log:
        try:
            code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=timeout,
                                  env={**os.environ, **(env or {})}).returncode
        except subprocess.TimeoutExpired:
            log.write(f"\ntimed out after {timeout} s\n")
            code = -1
    return code, path


def logged(name, command, env=None, timeout=1500):
    """As logged_status, but (exit status 0?, path)."""
    code, path = logged_status(name, command, env, timeout)
    return code == 0, path


def gates(tally):
    for name in ("layers", "headers", "functions"):
        ok, path = logged(f"gate-{name}", [f"script/check-{name}"])
        tally.add(f"gate/{name}", ok, f"see {path}")


def unit(tally, build="build", options=(), wanted=None, env=None):
    """Builds in `build` and runs every unit-test program of it (or those that `wanted` accepts)."""
    label = build.replace("build-", "").replace("build", "unit")
    ok, path = logged(f"{label}-build", ["script/build", build, *options])
    if not ok:
        tally.add(f"{label}/build", False, f"see {path}")
        return
    listing = json.loads(subprocess.run(["meson", "introspect", "--tests", build], capture_output=True, text=True, check=True).stdout)
    chosen = [t for t in listing if wanted is None or wanted(t["name"])]
    targets = sorted({pathlib.Path(t["cmd"][0]).name for t in chosen})
    if not targets:
        tally.add(f"{label}/tests exist", False, "no unit test was found")
        return
    ok, path = logged(f"{label}-build-tests", ["ninja", "-C", build, "-k0", *targets])
    if not ok:
        tally.add(f"{label}/build of the tests", False, f"see {path}")
    for t in chosen:
        if not os.path.exists(t["cmd"][0]):
            tally.add(f"{label}/{t['name']}", False, "was not built")
            continue
        code, path = logged_status(f"{label}-{t['name']}", t["cmd"], {**t["env"], **(env or {})}, timeout=600)
        if code == SKIPPED:
            tally.skip(f"{label}/{t['name']}", "it cannot run in this build")
        else:
            tally.add(f"{label}/{t['name']}", code == 0, f"see {path}")


class Result(unittest.TestResult):
    """Feeds the tally, one line for each method."""

    def __init__(self, tally):
        super().__init__()
        self.tally = tally
        self.started = 0.0

    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()

    def name(self, test):
        return test.id()

    def addSuccess(self, test):
        self.tally.add(self.name(test), True)

    def _bad(self, test, err):
        OUT.mkdir(exist_ok=True)
        path = OUT / (self.name(test).replace("/", "_").replace(" ", "_")[:150] + ".log")
        path.write_text(self._exc_info_to_string(err, test) if hasattr(test, "failureException") else repr(err))
        self.tally.add(self.name(test), False, f"see {path}: {str(err[1])[:300]}")

    def addFailure(self, test, err):
        self._bad(test, err)

    def addError(self, test, err):
        self._bad(test, err)

    def addSubTest(self, test, subtest, err):
        if err:
            self._bad(subtest, err)

    def addSkip(self, test, reason):
        self.tally.skip(self.name(test), reason)

    def addExpectedFailure(self, test, err):
        self.tally.add(self.name(test), False, "expected failures are not allowed here")

    def addUnexpectedSuccess(self, test):
        self.tally.add(self.name(test), False, "unexpected success")


def python_tests(tally, folders, pattern=None):
    for folder in folders:
        if not (ROOT / folder).is_dir():
            continue
        sys.path[:0] = [str(ROOT / "test"), str(ROOT / folder)]
        suite = unittest.TestLoader().discover(str(ROOT / folder), pattern="test_*.py", top_level_dir=str(ROOT / folder))

        def flat(s):
            for t in s:
                yield from flat(t) if isinstance(t, unittest.TestSuite) else [t]

        chosen = unittest.TestSuite(t for t in flat(suite) if not pattern or pattern in t.id())
        chosen.run(Result(tally))


def threaded(name):
    """The tests whose code runs in several threads."""
    return any(word in name for word in ("net/", "store/", "kv/memory", "kv/conformance", "queue/", "rt/", "auth/"))


ASAN = ["-Db_sanitize=address,undefined", "-Db_lundef=false"]
TSAN = ["-Db_sanitize=thread", "-Db_lundef=false"]
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:suppressions=" + str(ROOT / "test/tsan.supp"),
}
SYSTEM = ["test/admin", "test/interop", "test/crash", "test/hostile", "test/bench"]


def main():
    what, pattern = (sys.argv[1] if len(sys.argv) > 1 else "all"), (sys.argv[2] if len(sys.argv) > 2 else None)
    tally = Tally()
    began = time.monotonic()
    match = (lambda n: pattern in n) if pattern else None
    if what in ("all", "gates"):
        gates(tally)
    if what in ("all", "unit"):
        unit(tally, wanted=match)
    if what in ("all", "asan"):
        unit(tally, "build-asan", ASAN, match, SANITIZER_ENV)
    if what in ("all", "tsan"):
        unit(tally, "build-tsan", TSAN, match or threaded, SANITIZER_ENV)
    if what in ("system", "interop"):
        logged("unit-build", ["script/build"])
    if what in ("all", "system"):
        python_tests(tally, SYSTEM, pattern)
    if what == "interop":
        python_tests(tally, ["test/interop"], pattern)
    print(f"\n{time.monotonic() - began:.0f} s")
    for name, detail in tally.failed:
        print(f"failed: {name}  {detail}")
    for name, why in tally.skipped:
        print(f"skipped: {name}: {why}")
    print(f"{tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped")
    return 1 if tally.failed or tally.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
