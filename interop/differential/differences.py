"""Where Leveret answers otherwise than RabbitMQ 3.10.8.

DIFFERENCES are by choice, each also explained in docs/semantics.md. One has a pattern for what
RabbitMQ sends and one for what Leveret sends in its place; a step is excused if it is equal
apart from them. PENDING are scripts that need a feature still to come.

Both lists have to stay true: a difference that no longer occurs in its script and a pending
script that passes are reported as failures.
"""

import re
from dataclasses import dataclass

MARK = "<difference>"


@dataclass(frozen=True)
class Difference:
    script: str
    rabbitmq: re.Pattern
    leveret: re.Pattern
    reason: str

    def take_out(self, rabbitmq_text, leveret_text):
        """Both texts with what differs marked; unchanged unless it is found in both."""
        rabbitmq_rest, found = self.rabbitmq.subn(MARK, rabbitmq_text)
        leveret_rest, found_too = self.leveret.subn(MARK, leveret_text)
        return (rabbitmq_rest, leveret_rest) if found and found_too else (rabbitmq_text, leveret_text)


def differences_of(script):
    return [difference for difference in DIFFERENCES if difference.script == script]


def _differences(reason, rabbitmq, leveret, *scripts):
    compiled = re.compile(rabbitmq, re.MULTILINE), re.compile(leveret, re.MULTILINE)
    return [Difference(script, *compiled, reason) for script in scripts]


def _close(code, text, ids=r"class-id=\d+ method-id=\d+", scope="connection"):
    return rf"^c\d+\.\d+ {scope}\.close reply-code={code} reply-text=['\"]{text}['\"] {ids}$"


END = r"^c\d+\.0 end of stream$"
INTERNAL_ERROR = _close(541, "INTERNAL_ERROR")
ONE_DEATH = r"\('x-death', A:\[F:\[\('count', l:1\), [^F]*\]\]\)"
FIRST_DEATH = r"\('x-first-death-exchange', S:''\), \('x-first-death-queue', S:'sent(-list)?'\), \('x-first-death-reason', S:'rejected'\)"
UNIMPLEMENTED = _close(503, "COMMAND_INVALID - unimplemented method")

DIFFERENCES = [
    *_differences(
        "Limits refused in connection.tune-ok are said, as RabbitMQ 4 does; 3.10.8 only drops the connection.",
        END,
        _close(530, r"NOT_ALLOWED - negotiated \w+ = \d+( \(no limit\))? is (higher|lower) than the \w+ allowed value \(\d+\)"),
        "tune_ok_too_high",
        "tune_ok_frame_max_too_small",
    ),
    *_differences(
        "AMQP 0-8 is not spoken; RabbitMQ 4 has dropped it too.",
        r"^c\d+\.0 connection\.start version-major=8 .*$",
        r"^c\d+\.0 protocol header bytes=b'AMQP\\x00\\x00\\t\\x01'\nc\d+\.0 end of stream$",
        "protocol_header_of_amqp_0_8",
    ),
    *_differences(
        "A body longer than announced is an error at once, as in RabbitMQ 4; 3.10.8 goes on waiting for more.",
        _close(505, "UNEXPECTED_FRAME - expected content body, got non content body frame instead"),
        _close(501, "FRAME_ERROR - content body frame exceeds remaining content size"),
        "content_body_overflow",
    ),
    *_differences(
        "A body size beyond any limit is refused with the header, as in RabbitMQ 4.",
        _close(505, "UNEXPECTED_FRAME - expected content body, got non content body frame instead"),
        _close(501, r"FRAME_ERROR - content body size \d+ exceeds maximum allowed size 536870912"),
        "content_body_size_beyond_any",
    ),
    *_differences(
        "Malformed properties are the peer's error, not an internal one: 502 says what is wrong.",
        INTERNAL_ERROR,
        _close(502, "SYNTAX_ERROR - .*"),
        "content_properties_malformed",
        "content_header_wrong",
    ),
    *_differences(
        "A malformed field table gets 502; RabbitMQ drops the connection without a word.",
        END,
        _close(502, "SYNTAX_ERROR - .*"),
        "table_malformed",
    ),
    *_differences(
        "An unknown method gets 503; RabbitMQ drops the connection without a word.",
        END,
        UNIMPLEMENTED,
        "method_unknown",
        "channel_not_open",
        "frame_errors_on_deaf_channel",
    ),
    *_differences(
        "Content frames on a channel that waits for close-ok are ignored like its methods.",
        _close(505, "UNEXPECTED_FRAME - expected method frame, got non method frame instead"),
        r"^c3\.2 basic\.qos-ok$",
        "frame_errors_on_deaf_channel",
    ),
    *_differences(
        "A malformed method on channel 0 is answered like one on any channel; RabbitMQ says INTERNAL_ERROR.",
        INTERNAL_ERROR,
        _close(501, "FRAME_ERROR - cannot decode <<[0-9,]*>>"),
        "method_fields_malformed_on_channel_zero",
    ),
    *_differences(
        "A client may answer the server's basic.cancel with basic.cancel-ok.",
        r"\A" + UNIMPLEMENTED + r"\Z",
        r"\A\Z",
        "method_basic_cancel_ok",
    ),
    *_differences(
        "basic.credit is a relic that no client sends; it is not implemented.",
        _close(406, "PRECONDITION_FAILED - unknown consumer tag 't'", scope="channel"),
        UNIMPLEMENTED,
        "method_legacy",
    ),
    *_differences(
        "Short strings are UTF-8 without surrogates.",
        r"^c1\.1 queue\.declare-ok .*$",
        _close(501, "FRAME_ERROR - Malformed UTF-8 in shortstr"),
        "shortstr_unusual_utf8",
    ),
    *_differences(
        "A reply text that is too long is cut between characters, so that it stays UTF-8.",
        r"reply-text=<255 bytes, sha1 [0-9a-f]+>",
        r'reply-text="NOT_FOUND - no queue \'✓+\.\.\."',
        "queue_names",
    ),
    *_differences(
        "An unknown exchange type is a channel error, as in RabbitMQ 4.",
        _close(503, "COMMAND_INVALID - (unknown|invalid) exchange type '.*'"),
        _close(406, "PRECONDITION_FAILED - unknown exchange type '.*'", scope="channel"),
        "exchange_declare_unknown_type",
        "exchange_declare_empty_type",
        "exchange_declare_unknown_type_of_existing",
        "exchange_declare_type_in_capitals",
        "exchange_declare_plugin_types",
    ),
    *_differences(
        "An argument of a consistent hash exchange that is no text is refused; RabbitMQ fails inside.",
        INTERNAL_ERROR,
        _close(406, r"PRECONDITION_FAILED - invalid type '\w+' for arg 'hash-\w+' in .*", scope="channel"),
        "exchange_type_arguments_of_no_text",
    ),
    *_differences(
        "A history goes through a newly bound exchange in its order; in RabbitMQ the newest message is the first.",
        r"body=b'(one|two)'|properties=\{[^}]*\}|message-count=\d|body-size=\d",
        r"body=b'(one|two)'|properties=\{[^}]*\}|message-count=\d|body-size=\d",
        "recent_history_to_exchange",
    ),
    *_differences(
        "An exchange that leads nowhere may be bound to a history; RabbitMQ fails inside.",
        r"(?s)\A.*\Z",
        r"(?s)\A.*\Z",
        "recent_history_to_exchange_without_queues",
    ),
    *_differences(
        "A decimal where an integer is compared is inequivalent; RabbitMQ fails inside.",
        INTERNAL_ERROR,
        _close(406, "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' .*", scope="channel"),
        "queue_equivalence_of_integer_and_decimal",
    ),
    *_differences(
        "x-queue-version 1 is gone, as in RabbitMQ 4.",
        r"^c1\.1 queue\.declare-ok queue='version' .*$",
        _close(406, ".*unsupported queue version .*1.*", scope="channel"),
        "queue_argument_queue_version",
    ),
    *_differences(
        "Continued property flags are legal AMQP and kept; RabbitMQ fails inside.",
        r"\A(" + INTERNAL_ERROR + r")?\Z",
        r"(?s)\A.*\Z",
        "publish_property_flags_continued",
    ),
    *_differences(
        "The order in which a publish is checked is that of RabbitMQ 4: expiration, CC and BCC, user-id.",
        _close(406, "PRECONDITION_FAILED - user_id property set to .*", scope="channel"),
        _close(406, "PRECONDITION_FAILED - invalid (expiration|message).*", scope="channel"),
        "publish_order_of_checks",
    ),
    *_differences(
        "The tag `L` stays as it came; RabbitMQ makes it `l` when it writes headers anew.",
        r"\('n', l:5\)\], wire: '20000000000b016e6c",
        r"\('n', L:5\)\], wire: '20000000000b016e4c",
        "publish_headers_rewritten_tag_capital_l",
    ),
    *_differences(
        "Every header called BCC is taken out; RabbitMQ leaves the second.",
        r"headers: \[\('BCC', A:\[S:'bcc-twice-2'\]\)\], wire: '[0-9a-f]+'",
        r"headers: \[\], wire: '200000000000'",
        "publish_headers_bcc_twice",
    ),
    *_differences(
        "Delivery modes other than 1 and 2 count as transient, as in RabbitMQ 4.",
        _close(406, r"PRECONDITION_FAILED - invalid message: \{delivery_mode_unknown,\d+\}", scope="channel"),
        r"\A\Z",
        "publish_delivery_mode_unknown",
    ),
    *_differences(
        "Floats that are no numbers are kept; RabbitMQ fails inside.",
        r"\A(" + INTERNAL_ERROR + r")?\Z",
        r"(?s)\A.*\Z",
        "publish_headers_not_a_number",
    ),
    *_differences(
        "Replies take delivery tags like any delivery, as in RabbitMQ 4; 3.10.8 gives all the same.",
        r"delivery-tag=1 ",
        r"delivery-tag=2 ",
        "reply_to_call",
    ),
    *_differences(
        "Binding or unbinding the reply-to queue is refused, as in RabbitMQ 4.",
        r"^c1\.1 (queue\.unbind-ok|channel\.close reply-code=404 .* class-id=50 method-id=20)$",
        _close(403, r"ACCESS_REFUSED - cannot bind or unbind to a volatile \(direct reply-to\) queue", scope="channel"),
        "reply_to_other_methods",
    ),
    *_differences(
        "A reply whose requester is there counts as routed, as in RabbitMQ 4; 3.10.8 delivers and returns it.",
        r"^c1\.2 basic\.return .*\nc1\.2 confirms ack=\[1\] after-returns=1$",
        r"^c1\.2 confirms ack=\[1\] after-returns=0$",
        "reply_to_reply_mandatory",
        "reply_to_reply_by_cc",
    ),
    *_differences(
        "The headers exchange does not take an integer for a float of the same value, as in RabbitMQ 4.",
        r"queues=\{.*\}$",
        r"queues=\{.*\}$",
        "route_headers_integer_and_float",
    ),
    *_differences(
        "An x-death that a client sent is replaced at the first death, as in RabbitMQ 4; 3.10.8 adds to it.",
        r"properties=\{headers: \[.*\('x-death'.*\} body=",
        rf"properties=\{{headers: \[(\('after', I:2\), \('before', I:1\), )?{ONE_DEATH}, {FIRST_DEATH}\]\}} body=",
        "death_sent_by_client",
        "death_list_sent_by_client",
    ),
    *_differences(
        "A delivery limit has to be an integer, as in RabbitMQ 4.",
        r"^c1\.1 queue\.declare-ok queue='refused-quorum' .*$",
        _close(406, r".*invalid arg .*x-delivery-limit.*expected integer, got longstr.*", scope="channel"),
        "quorum_declare_refusals",
    ),
    *_differences(
        "Quorum queues may have priorities.",
        _close(406, "PRECONDITION_FAILED - invalid arg 'x-max-priority' for .*", scope="channel"),
        r"^c1\.1 queue\.declare-ok queue='refused-quorum' .*$",
        "quorum_declare_refusals",
    ),
    *_differences(
        "Classic queues may have a delivery limit and a strategy of dead lettering; a leader locator as in RabbitMQ 4.",
        _close(406, "PRECONDITION_FAILED - invalid arg 'x-(delivery-limit|dead-letter-strategy|queue-leader-locator)' for .*", scope="channel"),
        r"^c1\.1 queue\.declare-ok queue='(classic-given|values)' .*$",
        "quorum_arguments_of_classic_queues",
        "queue_argument_values",
    ),
    *_differences(
        "basic.get may take from a quorum queue with a single active consumer.",
        _close(405, "RESOURCE_LOCKED - cannot obtain access to locked queue .*single active consumer", scope="channel"),
        r"^c1\.1 basic\.get-ok .*$",
        "quorum_single_active_get",
    ),
    *_differences(
        "A consumer of higher priority becomes the single active one, as in quorum queues of RabbitMQ 4.",
        r"^c1\.[13] basic\.deliver consumer-tag='(one|three)' delivery-tag=1 .*body=b'[ab]'.*$",
        r"^c1\.3 basic\.deliver consumer-tag='three' delivery-tag=[12] .*body=b'[ab]'.*$",
        "single_active_with_consumer_priority",
    ),
    *_differences(
        "Keys of BCC are forgotten once a message is published; RabbitMQ remembers them for its dead letters.",
        r"^c1\.2 basic\.get-ok .*'by-cc'.*\n",
        r"\A(?=c1\.2 basic\.get-empty)",
        "dead_letter_cc_and_bcc",
    ),
    *_differences(
        "Topic permissions hold for the keys of CC and BCC too, as in RabbitMQ 4.",
        r"\A\Z",
        _close(403, "ACCESS_REFUSED - access to topic 'forbidden' in exchange 'topics' .*", scope="channel"),
        "permission_topic",
    ),
    *_differences(
        "A quorum queue serves channels with a shared prefetch like any other queue.",
        _close(540, "NOT_IMPLEMENTED - queue 'q-qos' in vhost '/' does not support global qos"),
        r"^c1\.1 basic\.consume-ok .*\nc1\.1 basic\.deliver .*$",
        "quorum_global_qos_refused",
    ),
    *_differences(
        "An exclusive consumer of a quorum queue is the only one, as in a classic queue.",
        r"^c1\.2 basic\.consume-ok consumer-tag='u'$",
        _close(403, "ACCESS_REFUSED - queue 'q-exclusive' in vhost '/' in exclusive use", scope="channel"),
        "quorum_exclusive_consumer",
    ),
    *_differences(
        "Quorum queues can be deleted on condition.",
        _close(540, "NOT_IMPLEMENTED - cannot delete queue .* are not supported by quorum queues"),
        r"^c1\.1 (channel\.close reply-code=406 .* not empty\" .*|queue\.delete-ok message-count=1)$",
        "quorum_delete_if_empty",
        "quorum_delete_if_unused",
    ),
    *_differences(
        "What is given back to a quorum queue returns to its place, as in a classic queue; in RabbitMQ it is the order of "
        "giving back, at the front or, without a delivery limit, at the back.",
        r"(?s)\A.*redelivered.*\Z",
        r"(?s)\A.*redelivered.*\Z",
        "quorum_requeue_order_without_limit",
        "quorum_requeue_order_with_limit",
        "quorum_requeue_to_consumer",
    ),
    *_differences(
        "The limit of a quorum queue that rejects publishes is exact; RabbitMQ lets one more in.",
        r"^c1\.2 confirms ack=\[3\] .*$|(?s:\A.*basic\.get-ok.*body=b'c'.*\Z)",
        r"^c1\.2 confirms nack=\[3\] .*$|(?s:\A.*basic\.get-ok.*body=b'b'.*\Z)",
        "quorum_limit_rejects_publish",
    ),
]

PENDING = {}
