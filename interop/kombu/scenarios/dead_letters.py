from datetime import datetime, timedelta, timezone

from harness import Inbox, send
from playing import equal, scenario


def queue_with_letters(session, channel, **options):
    """A queue whose dead letters go over an exchange of their own to a queue, and the consumer of that."""
    exchange = session.exchange(channel, "direct", "dead-letters")
    dead = session.queue(channel, "dead", exchange, routing_key="dead")
    arguments = {"x-dead-letter-exchange": exchange.name, "x-dead-letter-routing-key": "dead"}
    return session.queue(channel, "work", queue_arguments=arguments, **options), Inbox(dead)


def check_letter(message, body, queue, reason):
    """The dead letter's x-death has one entry, and the x-first-death headers say the same."""
    equal((message.payload, message.delivery_info["routing_key"]), (body, "dead"), "dead letter")
    [death] = message.headers["x-death"]
    age = datetime.now(timezone.utc).replace(tzinfo=None) - death["time"]
    equal(abs(age) < timedelta(minutes=1), True, f"x-death's time is about now, off by {age}")
    expected = {
        "count": 1,
        "reason": reason,
        "queue": queue.name,
        "exchange": "",
        "routing-keys": [queue.name],
        "time": death["time"],
    }
    equal({key: death[key] for key in expected}, expected, "x-death")
    first = {key: message.headers[f"x-first-death-{key}"] for key in ("reason", "queue", "exchange")}
    equal(first, {"reason": reason, "queue": queue.name, "exchange": ""}, "x-first-death")
    return death


@scenario
def dead_letter_rejected(session):
    channel = session.channel()
    work, dead = queue_with_letters(session, channel)
    send(work, "rejected", headers={"kept": "yes"})
    Inbox(work).wait(1)[0].reject()
    [letter] = dead.wait(1)
    check_letter(letter, "rejected", work, "rejected")
    equal(letter.headers["kept"], "yes", "header of the message")
    equal(letter.delivery_info["redelivered"], False, "redelivered")


@scenario
def dead_letter_expired(session):
    channel = session.channel()
    work, dead = queue_with_letters(session, channel)
    send(work, "expired", expiration=0.1)
    [letter] = dead.wait(1)
    death = check_letter(letter, "expired", work, "expired")
    equal(death["original-expiration"], "100", "original-expiration")
    equal(letter.properties.get("expiration"), None, "expiration")


@scenario
def dead_letter_maxlen(session):
    channel = session.channel()
    work, dead = queue_with_letters(session, channel, max_length=2)
    send(work, *"123")
    [letter] = dead.wait(1)
    check_letter(letter, "1", work, "maxlen")
    equal(Inbox(work).bodies(2), ["2", "3"], "messages kept")


@scenario
def dead_letter_retry(session):
    channel = session.channel()
    retry_name = session.name("retry")
    work = session.queue(
        channel,
        "work",
        queue_arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": retry_name},
    )
    session.queue(
        channel,
        "retry",
        message_ttl=0.1,
        queue_arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work.name},
    )
    send(work, "job")
    inbox = Inbox(work)
    for attempt in range(3):
        inbox.wait(attempt + 1)[-1].reject()
    last = inbox.wait(4)[-1]
    deaths = [(death["queue"], death["reason"], death["count"]) for death in last.headers["x-death"]]
    equal(deaths, [(retry_name, "expired", 3), (work.name, "rejected", 3)], "x-death")
    equal((last.payload, last.headers["x-first-death-reason"]), ("job", "rejected"), "message")
    last.ack()
