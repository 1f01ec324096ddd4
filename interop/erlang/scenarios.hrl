-include("interop.hrl").

-import(interop_amqp, [
    await_one/2,
    await_ready/3,
    bodies/1,
    confirm_mode/1,
    consume/2,
    consume_no_ack/2,
    counts/2,
    drain/2,
    finish/2,
    get_one/2,
    get_one_no_ack/2,
    get_tag/1,
    marked/1,
    numbers/2,
    publish/4,
    send/3,
    send_confirmed/3,
    take/2,
    take_all/2
]).
-import(interop_expect, [
    channel_error/4,
    connection_error/4,
    equal/3,
    eventually/2,
    is_true/2,
    lacking/1
]).
-import(interop_session, [
    ask/2,
    bound_queue/4,
    channel/1,
    connect/1,
    connect/2,
    declare/4,
    exchange/4,
    exchange/5,
    name/2,
    queue/3,
    queue/4,
    shared_queue/3
]).
