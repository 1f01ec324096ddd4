"""Results: a line as each comes, a table of all, JUnit XML."""

from dataclasses import dataclass
from xml.etree import ElementTree

PASSED, FAILED, LACKING = "ok", "FAILED", "lacks"
NOT_RUN = "-"


@dataclass
class Result:
    suite: str
    name: str
    status: str
    seconds: float = 0.0
    message: str = ""


class Report:
    def __init__(self):
        self.results = []

    def add(self, result):
        self.results.append(result)
        print(f"{result.suite:<18} {result.name:<30} {result.status:<6} {result.seconds:7.2f} s", flush=True)
        if result.status == FAILED:
            print(f"    {result.message}", flush=True)

    def count(self, status):
        return sum(result.status == status for result in self.results)

    def print_summary(self):
        for suites in self._tables():
            self._print_table(suites)
        for status, title in ((LACKING, "What a client lacks"), (FAILED, "Failures")):
            chosen = [result for result in self.results if result.status == status]
            if chosen:
                print(f"\n{title}:")
            for result in chosen:
                print(f"  {result.suite} {result.name}: {result.message}")
        print(f"\n{self.count(PASSED)} passed, {self.count(FAILED)} failed", flush=True)

    def _tables(self):
        """Suites that ran the same kind of thing share a table."""
        suites = list(dict.fromkeys(result.suite for result in self.results))
        tutorials = [suite for suite in suites if suite.startswith("tutorials")]
        clients = [suite for suite in suites if suite not in tutorials]
        return [table for table in (clients, tutorials) if table]

    def _print_table(self, suites):
        cells = {(result.name, result.suite): result.status for result in self.results}
        names = list(dict.fromkeys(result.name for result in self.results if result.suite in suites))
        width = max(map(len, names)) + 2
        columns = [max(len(suite), len(FAILED)) + 2 for suite in suites]
        row = lambda first, rest: first.ljust(width) + "".join(c.ljust(w) for c, w in zip(rest, columns)).rstrip()
        print("\n" + row("", suites))
        for name in names:
            print(row(name, [cells.get((name, suite), NOT_RUN) for suite in suites]))

    def write_junit(self, path):
        root = ElementTree.Element("testsuites")
        for suite in dict.fromkeys(result.suite for result in self.results):
            results = [result for result in self.results if result.suite == suite]
            count = lambda status: str(sum(result.status == status for result in results))
            element = ElementTree.SubElement(
                root,
                "testsuite",
                name=f"interop.{suite}",
                tests=str(len(results)),
                failures=count(FAILED),
                skipped=count(LACKING),
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


def printable(text):
    """XML has no way to write most control characters."""
    return "".join(c if c in "\n\t" or c >= " " else "\N{REPLACEMENT CHARACTER}" for c in text)
