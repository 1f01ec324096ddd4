"""Waiting for what a broker does in its own time: expiry, the loss of a connection.

A poll asks again and again and leaves only its last answer in the transcript, so the step reads
the same however often it had to ask.
"""

import time

from connection import ScriptFailed

TIMEOUT_S = 8
PAUSE_S = 0.004

# What may arrive at any time on the channel that polls.
_NOT_ANSWERS = {"basic.deliver", "basic.cancel", "basic.return"}


def await_state(ch, queue, messages, consumers=0):
    """Wait until a queue has so many ready messages and consumers; None means it is gone."""
    wanted = {"message-count": messages, "consumer-count": consumers}

    def reached(reply):
        return messages is None and ch.closed or all(reply.get(key) == value for key, value in wanted.items())

    label = f"wait for {queue} to have {messages} messages and {consumers} consumers"
    _poll(ch, label, lambda: ch.call("queue.declare", queue=queue, passive=True), reached)


def await_ready(ch, queue, messages):
    """Wait until a queue has so many ready messages, and record nothing.

    In RabbitMQ 3.10 every message got from a quorum queue and not acked counts as a consumer.
    """
    ask = lambda: ch.call("queue.declare", queue=queue, passive=True)
    reached = lambda reply: reply.get("message-count") == messages
    _poll(ch, f"wait for {queue} to have {messages} messages", ask, reached, record=False)


def await_refusal(ch, name, reply_code, **fields):
    """Wait until a method closes the channel with that reply code."""

    reached = lambda reply: reply.get("reply-code") == reply_code
    _poll(ch, f"wait for {name} to be refused with {reply_code}", lambda: ch.call(name, **fields), reached)


def await_exchange_gone(ch, exchange):
    """Wait until an exchange is gone.

    An auto-delete exchange bound to one queue goes with it, so this tells that a queue has expired
    without using the queue.
    """
    await_refusal(ch, "exchange.declare", 404, exchange=exchange, type="fanout", passive=True)


def _poll(ch, label, ask, reached, record=True):
    s = ch.session
    deadline = time.monotonic() + TIMEOUT_S
    with s.step(f"{ch.name} {label}"), s.on_its_own():
        while True:
            before = len(s.steps[-1].replies)
            ch.reopen()
            done = reached(ask() or {})
            if not done or not record:
                _forget_answers(ch, before)
            if done:
                return
            if time.monotonic() > deadline:
                raise ScriptFailed(f"timed out: {label}")
            time.sleep(PAUSE_S)


def _forget_answers(ch, before):
    """Take the answers to a poll out of the step; what came to consumers meanwhile stays."""
    replies = ch.session.steps[-1].replies
    replies[before:] = [
        (connection, number, reply)
        for connection, number, reply in replies[before:]
        if (connection, number) != ch.place or reply.get("method") in _NOT_ANSWERS
    ]
