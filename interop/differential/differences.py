"""Where Leveret answers otherwise than RabbitMQ 3.10.8, by choice.

A difference is a substitution: applied to the lines of RabbitMQ's replies in that script it
gives Leveret's. One that changes nothing any more is reported, so that the list stays true.
Each is also explained in docs/semantics.md.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    script: str
    rabbitmq: str  # a regular expression
    leveret: str  # what stands in its place; may refer to groups
    reason: str

    def apply(self, text):
        return re.sub(self.rabbitmq, self.leveret, text)


DIFFERENCES = ()


def differences_of(script):
    return [difference for difference in DIFFERENCES if difference.script == script]
