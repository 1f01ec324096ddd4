"""Clients from Maven Central."""

import os
import re

from ..paths import INTEROP
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
        return ["java", "-Xmx512m", "-cp", self.class_path("classes"), self.main_class, *scenarios]

    def class_path(self, classes):
        return os.pathsep.join([str(self.installed / classes), str(self.installed / "dependency" / "*")])


class Java(MavenClient):
    name = "java"
    artifact = "amqp-client"
    main_class = "interop.Main"
    has_tutorials = True
    inputs = (*MavenClient.inputs, "../tutorials/java/*.java")

    def install_packages(self):
        super().install_packages()
        programs = sorted((INTEROP / "tutorials" / self.name).glob("*.java"))
        target = self.installed / "tutorials"
        run_tool(self.name, ["javac", "-encoding", "UTF-8", "-cp", self.class_path("."), "-d", target, *programs])

    def tutorial_command(self, program):
        """The class `NewTask` is the program new_task. What makes a short program start sooner is asked for."""
        main_class = program.title().replace("_", "")
        options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        return ["java", *options, "-cp", self.class_path("tutorials"), main_class]


class Spring(MavenClient):
    name = "spring"
    artifact = "spring-rabbit"
    main_class = "interop.spring.Main"
    inputs = (*MavenClient.inputs, "../java/src/main/java/interop/harness/*.java")


CLIENTS = (Java(), Spring())
