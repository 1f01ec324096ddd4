-module(queues_scenarios).

-export([queue_declare/1, queue_mismatch/1, server_named_queue/1, queue_purge_and_delete/1, exclusive_queue/1]).
-export([auto_delete_queue/1, message_ttl/1, queue_expires/1, max_length/1, priority_queue/1]).
-export([single_active_consumer/1, quorum_queue/1, long_and_unicode_names/1]).
-export([no_queue/1]).

-include("scenarios.hrl").

queue_declare(Session) ->
    Channel = channel(Session),
    Queue = name(Session, "queue"),
    Declare = #'queue.declare'{queue = Queue, exclusive = true},
    Empty = #'queue.declare_ok'{queue = Queue, message_count = 0, consumer_count = 0},
    [equal(amqp_channel:call(Channel, Declare), Empty, "declare-ok") || _ <- [first, again]],
    send(Channel, Queue, [<<"a">>, <<"b">>, <<"c">>]),
    await_ready(Channel, Queue, 3),
    equal(counts(Channel, Queue), {3, 0}, "passive declare-ok"),
    take(consume(Channel, Queue), 3),
    Consumed = #'queue.declare_ok'{queue = Queue, message_count = 0, consumer_count = 1},
    equal(amqp_channel:call(Channel, Declare), Consumed, "ready messages and consumers").

queue_mismatch(Session) ->
    Connection = connect(Session),
    {ok, Owner} = amqp_connection:open_channel(Connection),
    Ttl = [{<<"x-message-ttl">>, signedint, 60000}],
    Plain = shared_queue(Session, Owner, "plain"),
    Limited = declare(Session, Owner, "limited", #'queue.declare'{arguments = Ttl}),
    Inequivalent = fun(Argument, Queue, Difference) ->
        ["PRECONDITION_FAILED - inequivalent arg '", Argument, "' for queue '", Queue, "' in vhost '/': ", Difference]
    end,
    Flag = "received 'true' but current is 'false'",
    lists:foreach(
        fun({Declare, Code, Text}) ->
            channel_error(Connection, Code, Text, fun(Channel) -> amqp_channel:call(Channel, Declare) end)
        end,
        [
            {#'queue.declare'{queue = Plain, durable = true}, 406, Inequivalent("durable", Plain, Flag)},
            {#'queue.declare'{queue = Plain, auto_delete = true}, 406, Inequivalent("auto_delete", Plain, Flag)},
            {
                #'queue.declare'{queue = Plain, arguments = Ttl},
                406,
                Inequivalent(
                    "x-message-ttl", Plain, "received the value '60000' of type 'signedint' but current is none"
                )
            },
            {
                #'queue.declare'{queue = Limited},
                406,
                Inequivalent(
                    "x-message-ttl", Limited, "received none but current is the value '60000' of type 'signedint'"
                )
            },
            {#'queue.declare'{queue = Plain, exclusive = true}, 405, channels_scenarios:locked_text(Plain)}
        ]
    ),
    #'queue.declare_ok'{queue = Limited} =
        amqp_channel:call(Owner, #'queue.declare'{queue = Limited, arguments = Ttl}).

server_named_queue(Session) ->
    Channel = channel(Session),
    Declare = #'queue.declare'{exclusive = true},
    #'queue.declare_ok'{queue = First = <<"amq.gen-", _/binary>>} = amqp_channel:call(Channel, Declare),
    #'queue.declare_ok'{queue = Last = <<"amq.gen-", _/binary>>} = amqp_channel:call(Channel, Declare),
    is_true(First =/= Last, "two server-named queues have two names"),
    Key = name(Session, "key"),
    Bind = #'queue.bind'{queue = <<>>, exchange = <<"amq.direct">>, routing_key = Key},
    #'queue.bind_ok'{} = amqp_channel:call(Channel, Bind),
    publish(Channel, <<"amq.direct">>, Key, <<"to the last declared">>),
    equal(drain(Channel, First), [], "messages of the first"),
    equal(drain(Channel, Last), [<<"to the last declared">>], "messages of the last").

queue_purge_and_delete(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue"),
    send(Channel, Queue, [<<"a">>, <<"b">>, <<"c">>]),
    #'queue.purge_ok'{message_count = 3} = amqp_channel:call(Channel, #'queue.purge'{queue = Queue}),
    equal(drain(Channel, Queue), [], "messages after the purge"),
    send(Channel, Queue, [<<"d">>, <<"e">>]),
    #'queue.delete_ok'{message_count = 2} = amqp_channel:call(Channel, #'queue.delete'{queue = Queue}),
    #'queue.delete_ok'{message_count = 0} = amqp_channel:call(Channel, #'queue.delete'{queue = Queue}),
    NeverDeclared = name(Session, "never declared"),
    #'exchange.delete_ok'{} = amqp_channel:call(Channel, #'exchange.delete'{exchange = NeverDeclared}).

no_queue(Queue) ->
    ["NOT_FOUND - no queue '", Queue, "' in vhost '/'"].

exclusive_queue(Session) ->
    Connection = connect(Session),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    Queue = queue(Session, Channel, "queue"),
    ok = amqp_connection:close(Connection),
    channel_error(connect(Session), 404, no_queue(Queue), fun(Other) -> counts(Other, Queue) end).

auto_delete_queue(Session) ->
    Connection = connect(Session),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    Queue = declare(Session, Channel, "queue", #'queue.declare'{auto_delete = true}),
    send(Channel, Queue, [<<"without a consumer">>]),
    First = consume(Channel, Queue),
    Last = consume(Channel, Queue),
    finish(Channel, First),
    {_, 1} = counts(Channel, Queue),
    finish(Channel, Last),
    eventually(fun() -> not exists(Connection, Queue) end, "the queue is gone"),
    channel_error(Connection, 404, no_queue(Queue), fun(Other) -> counts(Other, Queue) end).

exists(Connection, Queue) ->
    {ok, Channel} = amqp_connection:open_channel(Connection),
    try
        counts(Channel, Queue),
        ok = amqp_channel:close(Channel),
        true
    catch
        exit:{{shutdown, {server_initiated_close, 404, _}}, _} -> false
    end.

expiring(Expiration, Body) ->
    #amqp_msg{props = #'P_basic'{expiration = Expiration}, payload = Body}.

message_ttl(Session) ->
    Connection = connect(Session),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    Limited = queue(Session, Channel, "limited", [{<<"x-message-ttl">>, signedint, 500}]),
    Mixed = queue(Session, Channel, "mixed"),
    Started = erlang:monotonic_time(millisecond),
    send_confirmed(Channel, Limited, [<<"older">>]),
    send_confirmed(Channel, Mixed, [expiring(<<"100">>, <<"older">>), expiring(<<"60000">>, <<"younger">>)]),
    await_ready(Channel, Mixed, 1),
    has_passed(100, Started, "the expiration"),
    equal(drain(Channel, Mixed), [<<"younger">>], "messages with an expiration"),
    await_ready(Channel, Limited, 0),
    has_passed(500, Started, "the TTL"),
    send(Channel, Limited, [<<"younger">>]),
    equal(drain(Channel, Limited), [<<"younger">>], "messages of the queue with a TTL"),
    Text = "PRECONDITION_FAILED - invalid expiration 'soon': no_integer",
    channel_error(Connection, 406, Text, fun(Other) -> send(Other, Mixed, [expiring(<<"soon">>, <<>>)]) end).

has_passed(Ms, Started, What) ->
    is_true(erlang:monotonic_time(millisecond) - Started >= Ms, [What, " has passed"]).

%% To ask for a queue is to use it, so what is published to it tells whether it is there.
queue_expires(Session) ->
    Channel = channel(Session),
    confirm_mode(Channel),
    ok = amqp_channel:register_return_handler(Channel, self()),
    Declare = #'queue.declare'{arguments = [{<<"x-expires">>, signedint, 300}]},
    Started = erlang:monotonic_time(millisecond),
    Used = declare(Session, Channel, "used", Declare),
    Unused = declare(Session, Channel, "unused", Declare),
    Tag = consume_no_ack(Channel, Used),
    eventually(fun() -> not routed(Channel, Unused) end, "the unused queue is gone"),
    has_passed(300, Started, "its time"),
    is_true(routed(Channel, Used), "the queue with a consumer is there"),
    finish(Channel, Tag),
    eventually(fun() -> not routed(Channel, Used) end, "the queue is gone after its consumer").

routed(Channel, Queue) ->
    ok = amqp_channel:call(Channel, #'basic.publish'{routing_key = Queue, mandatory = true}, #amqp_msg{}),
    true = amqp_channel:wait_for_confirms(Channel),
    receive
        {#'basic.return'{routing_key = Queue}, _} -> false
    after 0 -> true
    end.

max_length(Session) ->
    Channel = channel(Session),
    Short = queue(Session, Channel, "short", [{<<"x-max-length">>, signedint, 3}]),
    send(Channel, Short, numbers(1, 10)),
    equal(drain(Channel, Short), numbers(8, 10), "the last three"),
    Small = queue(Session, Channel, "small", [{<<"x-max-length-bytes">>, signedint, 10}]),
    send(Channel, Small, [<<"aaaa">>, <<"bbbb">>, <<"cc">>, <<"dddd">>, <<"e">>]),
    equal(drain(Channel, Small), [<<"cc">>, <<"dddd">>, <<"e">>], "the last ten bytes").

priority_queue(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue", [{<<"x-max-priority">>, signedint, 10}]),
    Message = fun({Priority, Body}) ->
        #amqp_msg{props = #'P_basic'{priority = Priority}, payload = Body}
    end,
    send(Channel, Queue, lists:map(Message, [
        {undefined, <<"none">>},
        {1, <<"one">>},
        {5, <<"five">>},
        {10, <<"ten">>},
        {200, <<"above">>},
        {10, <<"ten again">>},
        {0, <<"zero">>},
        {5, <<"five again">>},
        {undefined, <<"none again">>}
    ])),
    Order = [
        <<"ten">>, <<"above">>, <<"ten again">>,
        <<"five">>, <<"five again">>,
        <<"one">>,
        <<"none">>, <<"zero">>, <<"none again">>
    ],
    equal(drain(Channel, Queue), Order, "order").

single_active_consumer(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue", [{<<"x-single-active-consumer">>, bool, true}]),
    First = consume_no_ack(Channel, Queue),
    Second = consume_no_ack(Channel, Queue),
    send(Channel, Queue, numbers(1, 10)),
    equal(bodies(take(First, 10)), numbers(1, 10), "messages of the first consumer"),
    equal(finish(Channel, First), [], "messages of the first consumer beyond that"),
    send(Channel, Queue, numbers(11, 20)),
    equal(bodies(take(Second, 10)), numbers(11, 20), "messages of the second consumer"),
    equal(finish(Channel, Second), [], "messages of the second consumer beyond that").

quorum_queue(Session) ->
    Channel = channel(Session),
    Dead = queue(Session, Channel, "dead"),
    Queue = declare(Session, Channel, "queue", #'queue.declare'{
        durable = true,
        arguments = [
            {<<"x-queue-type">>, longstr, <<"quorum">>},
            {<<"x-delivery-limit">>, signedint, 2}
            | dead_letters_scenarios:dead_letters_to(Dead)
        ]
    }),
    send_confirmed(Channel, Queue, [<<"poison">>]),
    Tag = consume(Channel, Queue),
    lists:foreach(
        fun({Redelivered, Count}) ->
            [{Deliver, #amqp_msg{props = #'P_basic'{headers = Headers}}}] = take(Tag, 1),
            equal(Deliver#'basic.deliver'.redelivered, Redelivered, "redelivered"),
            equal(lists:keyfind(<<"x-delivery-count">>, 1, headers(Headers)), Count, "x-delivery-count"),
            Nack = #'basic.nack'{delivery_tag = Deliver#'basic.deliver'.delivery_tag, requeue = true},
            ok = amqp_channel:call(Channel, Nack)
        end,
        [{false, false}, {true, {<<"x-delivery-count">>, long, 1}}, {true, {<<"x-delivery-count">>, long, 2}}]
    ),
    [Letter] = take(consume_no_ack(Channel, Dead), 1),
    equal(bodies([Letter]), [<<"poison">>], "dead letter"),
    [#{<<"reason">> := <<"delivery_limit">>, <<"queue">> := Queue}] = dead_letters_scenarios:deaths(Letter),
    equal(finish(Channel, Tag), [], "messages delivered beyond the limit").

headers(undefined) -> [];
headers(Headers) -> Headers.

long_and_unicode_names(Session) ->
    Channel = channel(Session),
    Prefix = name(Session, "long"),
    Long = <<Prefix/binary, (binary:copy(<<"x">>, 255 - byte_size(Prefix)))/binary>>,
    #'queue.declare_ok'{queue = Long} =
        amqp_channel:call(Channel, #'queue.declare'{queue = Long, exclusive = true}),
    send(Channel, Long, [<<"long">>]),
    equal(drain(Channel, Long), [<<"long">>], "messages of the long name"),

    Queue = queue(Session, Channel, "зайчонок-野兎-🐇"),
    Exchange = exchange(Session, Channel, <<"topic">>, "größe"),
    Bind = #'queue.bind'{queue = Queue, exchange = Exchange, routing_key = <<"straße.*"/utf8>>},
    #'queue.bind_ok'{} = amqp_channel:call(Channel, Bind),
    Key = <<"straße.жук"/utf8>>,
    publish(Channel, Exchange, Key, <<"unicode">>),
    {#'basic.get_ok'{exchange = Exchange, routing_key = Key}, #amqp_msg{payload = <<"unicode">>}} =
        get_one_no_ack(Channel, Queue).
