"""Headers that a broker adds to messages, made alike where RabbitMQ 3.10 has no rule or a rule of its own."""

import amqp

DEATHS = "x-death"
DELIVERY_COUNT = "x-delivery-count"


def comparable_headers(properties):
    """Properties with their headers in order of names, if there is a death or a delivery count.

    RabbitMQ 3.10 sorts all headers when it adds one. With a basic.get it adds a count of 0, and
    the headers x-last-death-* it has not yet.
    """
    names = {name for name, _ in properties.get("headers", ())}
    if not names & {DEATHS, DELIVERY_COUNT}:
        return properties
    headers = [_comparable_deaths(*header) for header in properties["headers"] if not _left_out(*header)]
    compared = properties | {"headers": sorted(headers, key=lambda header: header[0])}
    return {name: value for name, value in compared.items() if name != "headers" or headers}


def _left_out(name, value):
    return name.startswith("x-last-death-") or name == DELIVERY_COUNT and value.value == 0


def _comparable_deaths(name, value):
    """x-death with fields in order, and deaths before the newest in order.

    From the second death on RabbitMQ 3.10 sorts the fields of a death; each death turns the older ones round.
    """
    if name != DEATHS or value.tag != "A" or not value.value or any(death.tag != "F" for death in value.value):
        return name, value
    newest, *older = (amqp.Tagged("F", sorted(death.value, key=repr)) for death in value.value)
    return name, amqp.Tagged("A", [newest, *sorted(older, key=repr)])
