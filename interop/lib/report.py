"""Results: a line as each comes, a table of all, JUnit XML, the page of the documentation."""

import threading
from dataclasses import dataclass
from xml.etree import ElementTree

PASSED, FAILED, LACKING, NOT_IN_BROKER = "ok", "FAILED", "lacks", "broker"
NOT_RUN = ""
TABLE_WIDTH = 120

LEGEND = {LACKING: "What a client lacks", NOT_IN_BROKER: "What the broker lacks", FAILED: "Failures"}


@dataclass
class Result:
    suite: str
    name: str
    status: str
    seconds: float = 0.0
    message: str = ""


class Report:
    """May be added to by several threads. `suites` and `names` are in the order of the tables."""

    def __init__(self, suites, names):
        self.results = []
        self.interrupted = threading.Event()
        self._suites = suites
        self._names = names
        self._lock = threading.Lock()

    def add(self, result):
        with self._lock:
            self.results.append(result)
            print(f"{result.suite:<21} {result.name:<32} {result.status:<6} {result.seconds:7.2f} s", flush=True)
            if result.message and result.status in (FAILED, PASSED):
                print(f"    {result.message}", flush=True)

    def count(self, status):
        return sum(result.status == status for result in self.results)

    def print_summary(self):
        for suites in self._tables():
            self._print_table(suites)
        for status, title in LEGEND.items():
            chosen = [result for result in self.results if result.status == status]
            if chosen:
                print(f"\n{title}:")
            for result in chosen:
                print(f"  {result.suite} {result.name}: {result.message}")
        print(f"\n{self.count(PASSED)} passed, {self.count(FAILED)} failed", flush=True)

    def _tables(self):
        """Suites that ran the same kind of thing share a table, as many as fit side by side."""
        ran = {result.suite for result in self.results}
        suites = [suite for suite in self._suites if suite in ran]
        names_of = lambda suite: {result.name for result in self.results if result.suite == suite}
        tables = []
        for suite in suites:
            last = tables[-1] if tables else None
            if last and names_of(last[0]) & names_of(suite) and self._width([*last, suite]) <= TABLE_WIDTH:
                last.append(suite)
            else:
                tables.append([suite])
        return tables

    def _rows(self, suites):
        names = dict.fromkeys(result.name for result in self.results if result.suite in suites)
        return [name for name in self._names if name in names] + [name for name in names if name not in self._names]

    def _width(self, suites):
        return max(map(len, self._rows(suites))) + sum(map(column_width, suites))

    def _print_table(self, suites):
        cells = {(result.name, result.suite): result.status for result in self.results}
        names = self._rows(suites)
        width = max(map(len, names)) + 2
        row = lambda first, rest: first.ljust(width) + "".join(
            text.ljust(column_width(suite)) for text, suite in zip(rest, suites)
        )
        print("\n" + row("", suites).rstrip())
        for name in names:
            print(row(name, [cells.get((name, suite), NOT_RUN) for suite in suites]).rstrip())

    def write_junit(self, path):
        root = ElementTree.Element("testsuites")
        for suite in dict.fromkeys(result.suite for result in self.results):
            results = [result for result in self.results if result.suite == suite]
            count = lambda *statuses: str(sum(result.status in statuses for result in results))
            element = ElementTree.SubElement(
                root,
                "testsuite",
                name=f"interop.{suite}",
                tests=str(len(results)),
                failures=count(FAILED),
                skipped=count(LACKING, NOT_IN_BROKER),
                time=f"{sum(result.seconds for result in results):.3f}",
            )
            for result in results:
                self._add_case(element, result)
        path.parent.mkdir(parents=True, exist_ok=True)
        ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)

    @staticmethod
    def _add_case(suite, result):
        attributes = {"classname": f"interop.{result.suite}", "name": result.name, "time": f"{result.seconds:.3f}"}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        if result.status != PASSED:
            tag = "failure" if result.status == FAILED else "skipped"
            ElementTree.SubElement(case, tag, message=printable(result.message))


def column_width(suite):
    return max(len(suite), len(FAILED)) + 2


def printable(text):
    """XML has no way to write most control characters."""
    return "".join(c if c in "\n\t" or c >= " " else "\N{REPLACEMENT CHARACTER}" for c in text)
