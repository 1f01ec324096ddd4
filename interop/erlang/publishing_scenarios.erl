-module(publishing_scenarios).

-export([publisher_confirms/1, confirm_unroutable/1, mandatory_return/1, return_before_confirm/1, nacked_publish/1]).
-export([connection_blocked/1, user_id/1]).

-include("scenarios.hrl").

-define(EVENT_TIMEOUT_MS, 10_000).
%% An alarm is set and lifted by a command that has to start first.
-define(ALARM_TIMEOUT_MS, 20_000).
-define(QUIET_MS, 300).
-define(PROBE_INTERVAL_MS, 20).

publisher_confirms(Session) ->
    Channel = channel(Session),
    Queue = declare(Session, Channel, "queue", #'queue.declare'{durable = true}),
    Messages = [
        #amqp_msg{props = #'P_basic'{delivery_mode = 1 + N rem 2}, payload = integer_to_binary(N)}
     || N <- lists:seq(1, 1000)
    ],
    {OneByOne, AllTogether} = lists:split(100, Messages),
    send_confirmed(Channel, Queue, OneByOne),
    ok = amqp_channel:register_confirm_handler(Channel, self()),
    equal(amqp_channel:next_publish_seqno(Channel), 101, "next number"),
    send(Channel, Queue, AllTogether),
    true = amqp_channel:wait_for_confirms_or_die(Channel, {?EVENT_TIMEOUT_MS, millisecond}),
    confirmed_once(lists:seq(101, 1000)),
    await_ready(Channel, Queue, 1000),
    equal(drain(Channel, Queue), numbers(1, 1000), "messages").

%% When the waiting is over, all confirms have arrived.
confirmed_once(Unconfirmed) ->
    receive
        #'basic.ack'{delivery_tag = Tag, multiple = Multiple} ->
            {Confirmed, Rest} = lists:partition(
                fun(Number) -> Number =:= Tag orelse (Multiple andalso Number < Tag) end, Unconfirmed
            ),
            is_true(Confirmed =/= [], io_lib:format("~b is confirmed once", [Tag])),
            confirmed_once(Rest);
        #'basic.nack'{delivery_tag = Tag} ->
            equal(Tag, none, "refused")
    after 0 -> equal(Unconfirmed, [], "not confirmed")
    end.

confirm_unroutable(Session) ->
    Channel = channel(Session),
    confirm_mode(Channel),
    [
        true = interop_amqp:confirmed(Channel, Exchange, name(Session, "nobody"), <<"nowhere to go">>)
     || Exchange <- [<<>>, <<"amq.fanout">>]
    ].

mandatory_return(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue"),
    Nobody = name(Session, "nobody"),
    ok = amqp_channel:register_return_handler(Channel, self()),
    Lost = #amqp_msg{
        props = #'P_basic'{message_id = <<"lost">>, headers = [{<<"kept">>, signedint, 1}]},
        payload = <<"lost">>
    },
    Mandatory = #'basic.publish'{mandatory = true},
    ok = amqp_channel:call(Channel, Mandatory#'basic.publish'{routing_key = Queue}, #amqp_msg{payload = <<"routed">>}),
    publish(Channel, <<"amq.direct">>, Nobody, <<"not mandatory">>),
    ToNobody = Mandatory#'basic.publish'{exchange = <<"amq.direct">>, routing_key = Nobody},
    ok = amqp_channel:call(Channel, ToNobody, Lost),
    Return = #'basic.return'{
        reply_code = 312, reply_text = <<"NO_ROUTE">>, exchange = <<"amq.direct">>, routing_key = Nobody
    },
    equal(next_event(), {Return, Lost}, "return"),
    equal(drain(Channel, Queue), [<<"routed">>], "routed"),
    no_event().

next_event() ->
    receive
        Event -> Event
    after ?EVENT_TIMEOUT_MS -> interop_expect:fail("nothing happened for ~b ms", [?EVENT_TIMEOUT_MS])
    end.

no_event() ->
    receive
        Event -> equal(Event, none, "further events")
    after 0 -> ok
    end.

return_before_confirm(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue"),
    Nobody = name(Session, "nobody"),
    confirm_mode(Channel),
    ok = amqp_channel:register_return_handler(Channel, self()),
    ok = amqp_channel:register_confirm_handler(Channel, self()),
    PublishMandatory = fun(Key, Body) ->
        Publish = #'basic.publish'{routing_key = Key, mandatory = true},
        ok = amqp_channel:call(Channel, Publish, #amqp_msg{payload = Body})
    end,
    lists:foreach(
        fun(Body) ->
            PublishMandatory(Nobody, Body),
            {#'basic.return'{reply_code = 312}, #amqp_msg{payload = Body}} = next_event(),
            #'basic.ack'{} = next_event(),
            PublishMandatory(Queue, Body),
            #'basic.ack'{} = next_event()
        end,
        numbers(1, 20)
    ),
    equal(drain(Channel, Queue), numbers(1, 20), "routed messages"),
    no_event().

nacked_publish(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue", [
        {<<"x-max-length">>, signedint, 3}, {<<"x-overflow">>, longstr, <<"reject-publish">>}
    ]),
    confirm_mode(Channel),
    ok = amqp_channel:register_confirm_handler(Channel, self()),
    Confirms = [
        begin
            send(Channel, Queue, [Number]),
            next_event()
        end
     || Number <- numbers(1, 5)
    ],
    equal([confirm(Confirm) || Confirm <- Confirms], [{ack, 1}, {ack, 2}, {ack, 3}, {nack, 4}, {nack, 5}], "confirms"),
    equal(drain(Channel, Queue), numbers(1, 3), "messages"),
    send(Channel, Queue, [<<"6">>]),
    equal(confirm(next_event()), {ack, 6}, "what fits again is confirmed").

%% Of one message alone it makes no difference whether those before it are meant too.
confirm(#'basic.ack'{delivery_tag = Tag}) -> {ack, Tag};
confirm(#'basic.nack'{delivery_tag = Tag}) -> {nack, Tag}.

%% RabbitMQ blocks a connection, and says so, when it publishes while the alarm is on.
connection_blocked(Session) ->
    Observer = channel(Session),
    Queue = shared_queue(Session, Observer, "queue"),
    Connection = connect(Session),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    confirm_mode(Channel),
    amqp_connection:register_blocked_handler(Connection, self()),
    ask(Session, block),
    try
        #'connection.blocked'{reason = <<"low on memory">>} =
            publish_until_blocked(Channel, Queue, ?ALARM_TIMEOUT_MS div ?PROBE_INTERVAL_MS),
        ok = amqp_channel:register_confirm_handler(Channel, self()),
        Waiting = amqp_channel:next_publish_seqno(Channel),
        send(Channel, Queue, [<<"waits">>]),
        receive
            #'basic.ack'{delivery_tag = Tag, multiple = Multiple} when Tag =:= Waiting; Multiple, Tag > Waiting ->
                is_true(false, "no message is confirmed while the connection is blocked")
        after ?QUIET_MS -> ok
        end,
        is_true(not lists:member(<<"waits">>, drain(Observer, Queue)), "the message waits")
    after
        ask(Session, unblock)
    end,
    receive
        #'connection.unblocked'{} -> ok
    after ?ALARM_TIMEOUT_MS -> is_true(false, "told that the connection is unblocked")
    end,
    true = amqp_channel:wait_for_confirms(Channel),
    is_true(lists:member(<<"waits">>, drain(Observer, Queue)), "the message arrives").

publish_until_blocked(_, _, 0) ->
    is_true(false, "told that the connection is blocked");
publish_until_blocked(Channel, Queue, Times) ->
    send(Channel, Queue, [<<"probe">>]),
    receive
        Blocked = #'connection.blocked'{} -> Blocked
    after ?PROBE_INTERVAL_MS -> publish_until_blocked(Channel, Queue, Times - 1)
    end.

user_id(Session = #session{params = #amqp_params_network{username = User}}) ->
    Connection = connect(Session),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    Queue = queue(Session, Channel, "queue"),
    Signed = fun(Name, Body) -> #amqp_msg{props = #'P_basic'{user_id = Name}, payload = Body} end,
    send(Channel, Queue, [<<"anonymous">>, Signed(User, <<"signed">>)]),
    equal(drain(Channel, Queue), [<<"anonymous">>, <<"signed">>], "messages"),
    Text = ["PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '", User, "'"],
    Forged = Signed(<<"somebody">>, <<"forged">>),
    channel_error(Connection, 406, Text, fun(Forger) -> send(Forger, Queue, [Forged]) end),
    equal(drain(Channel, Queue), [], "forged messages").
