"""Clients from Maven Central."""

import os
import re

from .base import Client, need, run_tool


class MavenClient(Client):
    inputs = ("pom.xml", "src/**/*.java")
    artifact = None
    main_class = None

    def version(self):
        pom = (self.folder / "pom.xml").read_text()
        dependency = rf"<artifactId>{re.escape(self.artifact)}</artifactId>\s*<version>([^<]+)</version>"
        return f"{self.artifact} {re.search(dependency, pom)[1]}"

    def check_tools(self):
        need("javac", "apt-get install default-jdk (17 or later)")
        need("java", "apt-get install default-jdk (17 or later)")
        need("mvn", "apt-get install maven")

    def install_packages(self):
        goals = ["compiler:compile", "dependency:copy-dependencies"]
        pom = self.folder / "pom.xml"
        options = ["--quiet", "--batch-mode", f"--file={pom}", f"-Dbuild.folder={self.installed}"]
        run_tool(self.name, ["mvn", *options, *goals])

    def command(self, scenarios):
        path = os.pathsep.join([str(self.installed / "classes"), str(self.installed / "dependency" / "*")])
        return ["java", "-Xmx512m", "-cp", path, self.main_class, *scenarios]


class Java(MavenClient):
    name = "java"
    artifact = "amqp-client"
    main_class = "interop.Main"


CLIENTS = (Java(),)
