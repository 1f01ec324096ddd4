-module(exchanges_scenarios).

-export([predeclared_exchanges/1, exchange_mismatch/1, default_exchange/1, direct_exchange/1, fanout_exchange/1]).
-export([topic_exchange/1, headers_exchange/1, exchange_to_exchange/1, alternate_exchange/1, internal_exchange/1]).
-export([auto_delete_exchange/1, unbind/1, consistent_hash_exchange/1, modulus_hash_exchange/1, random_exchange/1]).
-export([recent_history_exchange/1, delayed_exchange/1, sender_selected_keys/1]).

-include("scenarios.hrl").

bind(Channel, Queue, Exchange, Key) ->
    bind(Channel, Queue, Exchange, Key, []).

bind(Channel, Queue, Exchange, Key, Arguments) ->
    Bind = #'queue.bind'{queue = Queue, exchange = Exchange, routing_key = Key, arguments = Arguments},
    #'queue.bind_ok'{} = amqp_channel:call(Channel, Bind).

unbind(Channel, Queue, Exchange, Key, Arguments) ->
    Unbind = #'queue.unbind'{queue = Queue, exchange = Exchange, routing_key = Key, arguments = Arguments},
    #'queue.unbind_ok'{} = amqp_channel:call(Channel, Unbind).

publish_all(Channel, Exchange, Keys) ->
    lists:foreach(fun(Key) -> publish(Channel, Exchange, Key, Key) end, Keys).

predeclared_exchanges(Session) ->
    Channel = channel(Session),
    lists:foreach(
        fun({Exchange, Type}) ->
            Declare = #'exchange.declare'{exchange = Exchange, type = Type, durable = true},
            #'exchange.declare_ok'{} = amqp_channel:call(Channel, Declare#'exchange.declare'{passive = true}),
            #'exchange.declare_ok'{} = amqp_channel:call(Channel, Declare)
        end,
        [
            {<<"amq.direct">>, <<"direct">>},
            {<<"amq.fanout">>, <<"fanout">>},
            {<<"amq.topic">>, <<"topic">>},
            {<<"amq.headers">>, <<"headers">>},
            {<<"amq.match">>, <<"headers">>}
        ]
    ).

exchange_mismatch(Session) ->
    Connection = connect(Session),
    {ok, Owner} = amqp_connection:open_channel(Connection),
    Exchange = exchange(Session, Owner, <<"direct">>, "exchange"),
    Same = #'exchange.declare'{exchange = Exchange, type = <<"direct">>},
    Flag = "received 'true' but current is 'false'",
    lists:foreach(
        fun({Declare, Argument, Difference}) ->
            Text = ["PRECONDITION_FAILED - inequivalent arg '", Argument, "' for exchange '", Exchange,
                    "' in vhost '/': ", Difference],
            channel_error(Connection, 406, Text, fun(Channel) -> amqp_channel:call(Channel, Declare) end)
        end,
        [
            {Same#'exchange.declare'{type = <<"fanout">>}, "type", "received 'fanout' but current is 'direct'"},
            {Same#'exchange.declare'{durable = true}, "durable", Flag},
            {Same#'exchange.declare'{auto_delete = true}, "auto_delete", Flag},
            {Same#'exchange.declare'{internal = true}, "internal", Flag},
            {
                Same#'exchange.declare'{arguments = [{<<"alternate-exchange">>, longstr, <<"amq.fanout">>}]},
                "alternate-exchange",
                "received the value 'amq.fanout' of type 'longstr' but current is none"
            }
        ]
    ),
    #'exchange.declare_ok'{} = amqp_channel:call(Owner, Same).

default_exchange(Session) ->
    Channel = channel(Session),
    First = queue(Session, Channel, "first"),
    Second = queue(Session, Channel, "second"),
    send(Channel, First, [<<"to first">>]),
    send(Channel, Second, [<<"to second">>]),
    send(Channel, name(Session, "nobody"), [<<"to nobody">>]),
    equal(drain(Channel, First), [<<"to first">>], "first"),
    equal(drain(Channel, Second), [<<"to second">>], "second").

direct_exchange(Session) ->
    Channel = channel(Session),
    Exchange = exchange(Session, Channel, <<"direct">>, "exchange"),
    Errors = bound_queue(Session, Channel, Exchange, <<"error">>),
    Everything = queue(Session, Channel, "everything"),
    [bind(Channel, Everything, Exchange, Key) || Key <- [<<"info">>, <<"warning">>, <<"error">>, <<"error">>]],
    publish_all(Channel, Exchange, [<<"info">>, <<"warning">>, <<"error">>, <<"debug">>]),
    equal(drain(Channel, Errors), [<<"error">>], "errors"),
    equal(drain(Channel, Everything), [<<"info">>, <<"warning">>, <<"error">>], "everything").

fanout_exchange(Session) ->
    Channel = channel(Session),
    Exchange = exchange(Session, Channel, <<"fanout">>, "exchange"),
    Queues = [bound_queue(Session, Channel, Exchange, Key) || Key <- numbers(1, 5)],
    publish(Channel, Exchange, <<>>, <<"one">>),
    publish(Channel, Exchange, <<"any.key">>, <<"two">>),
    [equal(drain(Channel, Queue), [<<"one">>, <<"two">>], Queue) || Queue <- Queues].

topic_cases() ->
    [
        {<<"a.b.c">>, [<<"a.b.c">>, <<"a.*.c">>, <<"*.b.*">>, <<"*.*.*">>, <<"#">>, <<"a.#">>, <<"#.c">>, <<"a.#.c">>,
                       <<"a.#.#">>, <<"#.b.#">>]},
        {<<"a.c">>, [<<"#">>, <<"a.#">>, <<"#.c">>, <<"a.#.c">>, <<"a.#.#">>, <<"*.*">>]},
        {<<"a">>, [<<"#">>, <<"a.#">>, <<"*">>, <<"a.#.#">>]},
        {<<>>, [<<"#">>]},
        {<<"a..c">>, [<<"a.*.c">>, <<"*.*.*">>, <<"#">>, <<"a.#">>, <<"#.c">>, <<"a.#.c">>, <<"a.#.#">>, <<"a..c">>]},
        {<<"b">>, [<<"#">>, <<"*">>, <<"#.b.#">>]}
    ].

topic_exchange(Session) ->
    Channel = channel(Session),
    Exchange = exchange(Session, Channel, <<"topic">>, "exchange"),
    Patterns = lists:usort(lists:append([Matching || {_, Matching} <- topic_cases()])),
    Queues = [{Pattern, bound_queue(Session, Channel, Exchange, Pattern)} || Pattern <- Patterns],
    Once = queue(Session, Channel, "one copy"),
    [bind(Channel, Once, Exchange, Pattern) || Pattern <- Patterns],
    Keys = [Key || {Key, _} <- topic_cases()],
    publish_all(Channel, Exchange, Keys),
    lists:foreach(
        fun({Pattern, Queue}) ->
            Expected = [Key || {Key, Matching} <- topic_cases(), lists:member(Pattern, Matching)],
            equal(drain(Channel, Queue), Expected, ["keys that ", Pattern, " matches"])
        end,
        Queues
    ),
    equal(drain(Channel, Once), Keys, "one copy of each").

with_headers(Headers, Body) ->
    #amqp_msg{props = #'P_basic'{headers = Headers}, payload = Body}.

headers_exchange(Session) ->
    Channel = channel(Session),
    Exchange = exchange(Session, Channel, <<"headers">>, "exchange"),
    Bound = fun(Label, Arguments) ->
        Queue = queue(Session, Channel, Label),
        bind(Channel, Queue, Exchange, <<>>, Arguments),
        Queue
    end,
    Match = fun(Kind, Arguments) -> [{<<"x-match">>, longstr, Kind} | Arguments] end,
    Format = fun(Value) -> {<<"format">>, longstr, Value} end,
    Pages = fun(Value) -> {<<"pages">>, signedint, Value} end,
    Draft = fun(Value) -> {<<"draft">>, bool, Value} end,
    Gold = {<<"x-tier">>, longstr, <<"gold">>},
    Wanted = [Format(<<"pdf">>), Pages(3), Draft(false)],
    Tiered = [Format(<<"pdf">>), Gold],
    Expected = [
        {Bound("all", Match(<<"all">>, Wanted)), [<<"all">>]},
        {
            Bound("any", Match(<<"any">>, Wanted)),
            [<<"all">>, <<"format only">>, <<"draft only">>, <<"tiered">>]
        },
        {Bound("default", Wanted), [<<"all">>]},
        {Bound("tiered all", Match(<<"all">>, Tiered)), [<<"all">>, <<"format only">>, <<"tiered">>]},
        {Bound("tiered all-with-x", Match(<<"all-with-x">>, Tiered)), [<<"tiered">>]},
        {
            Bound("tiered any-with-x", Match(<<"any-with-x">>, Tiered)),
            [<<"all">>, <<"format only">>, <<"tiered">>, <<"tier only">>]
        }
    ],
    [
        publish(Channel, Exchange, <<>>, with_headers(Headers, Label))
     || {Label, Headers} <- [
            {<<"all">>, [{<<"extra">>, longstr, <<"ignored">>} | Wanted]},
            {<<"format only">>, [Format(<<"pdf">>), Pages(4)]},
            {<<"draft only">>, [Draft(false)]},
            {<<"none">>, [Format(<<"zip">>), Pages(4), Draft(true)]},
            {<<"no headers">>, undefined},
            {<<"tiered">>, Tiered},
            {<<"tier only">>, [Gold]}
        ]
    ],
    [equal(drain(Channel, Queue), Labels, Queue) || {Queue, Labels} <- Expected].

exchange_to_exchange(Session) ->
    Channel = channel(Session),
    Source = exchange(Session, Channel, <<"topic">>, "source"),
    Middle = exchange(Session, Channel, <<"fanout">>, "middle"),
    Queue = queue(Session, Channel, "queue"),
    Orders = #'exchange.bind'{destination = Middle, source = Source, routing_key = <<"orders.#">>},
    #'exchange.bind_ok'{} = amqp_channel:call(Channel, Orders),
    #'exchange.bind_ok'{} = amqp_channel:call(Channel, #'exchange.bind'{destination = Source, source = Middle}),
    bind(Channel, Queue, Middle, <<>>),
    bind(Channel, Queue, Source, <<"#">>),
    publish(Channel, Source, <<"orders.new">>, <<"both ways">>),
    publish(Channel, Source, <<"other">>, <<"directly">>),
    equal(drain(Channel, Queue), [<<"both ways">>, <<"directly">>], "messages, one copy each"),
    NoOrders = #'exchange.unbind'{destination = Middle, source = Source, routing_key = <<"orders.#">>},
    #'exchange.unbind_ok'{} = amqp_channel:call(Channel, NoOrders),
    unbind(Channel, Queue, Source, <<"#">>, []),
    publish(Channel, Source, <<"orders.new">>, <<"nowhere">>),
    equal(drain(Channel, Queue), [], "messages after unbind").

alternate_exchange(Session) ->
    Channel = channel(Session),
    Fallback = exchange(Session, Channel, <<"fanout">>, "fallback"),
    Arguments = [{<<"alternate-exchange">>, longstr, Fallback}],
    Exchange = exchange(Session, Channel, <<"direct">>, "main", #'exchange.declare'{arguments = Arguments}),
    Known = bound_queue(Session, Channel, Exchange, <<"known">>),
    Unknown = bound_queue(Session, Channel, Fallback, <<>>),
    ok = amqp_channel:register_return_handler(Channel, self()),
    [
        begin
            Publish = #'basic.publish'{exchange = Exchange, routing_key = Key, mandatory = true},
            ok = amqp_channel:call(Channel, Publish, #amqp_msg{payload = Key})
        end
     || Key <- [<<"known">>, <<"stray">>]
    ],
    equal(drain(Channel, Known), [<<"known">>], "matched"),
    {#'basic.get_ok'{exchange = Exchange, routing_key = <<"stray">>}, #amqp_msg{payload = <<"stray">>}} =
        get_one_no_ack(Channel, Unknown),
    receive
        {#'basic.return'{}, #amqp_msg{payload = Returned}} -> equal(Returned, none, "returned")
    after 0 -> ok
    end.

internal_exchange(Session) ->
    Connection = connect(Session),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    Front = exchange(Session, Channel, <<"direct">>, "front"),
    Internal = exchange(Session, Channel, <<"fanout">>, "internal", #'exchange.declare'{internal = true}),
    Bind = #'exchange.bind'{destination = Internal, source = Front, routing_key = <<"in">>},
    #'exchange.bind_ok'{} = amqp_channel:call(Channel, Bind),
    Queue = bound_queue(Session, Channel, Internal, <<>>),
    publish(Channel, Front, <<"in">>, <<"through the front">>),
    equal(drain(Channel, Queue), [<<"through the front">>], "messages"),
    Text = ["ACCESS_REFUSED - cannot publish to internal exchange '", Internal, "' in vhost '/'"],
    channel_error(Connection, 403, Text, fun(Intruder) -> publish(Intruder, Internal, <<>>, <<"directly">>) end),
    equal(drain(Channel, Queue), [], "messages after the refused publish").

auto_delete_exchange(Session) ->
    Connection = connect(Session),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    Exchange = exchange(Session, Channel, <<"fanout">>, "exchange", #'exchange.declare'{auto_delete = true}),
    Queue = queue(Session, Channel, "queue"),
    bind(Channel, Queue, Exchange, <<"one">>),
    bind(Channel, Queue, Exchange, <<"two">>),
    Passive = #'exchange.declare'{exchange = Exchange, passive = true},
    unbind(Channel, Queue, Exchange, <<"one">>, []),
    #'exchange.declare_ok'{} = amqp_channel:call(Channel, Passive),
    unbind(Channel, Queue, Exchange, <<"two">>, []),
    Text = ["NOT_FOUND - no exchange '", Exchange, "' in vhost '/'"],
    channel_error(Connection, 404, Text, fun(Other) -> amqp_channel:call(Other, Passive) end).

unbind(Session) ->
    Channel = channel(Session),
    Exchange = exchange(Session, Channel, <<"headers">>, "exchange"),
    Queue = queue(Session, Channel, "queue"),
    Colour = fun(Name) -> {<<"colour">>, longstr, Name} end,
    All = {<<"x-match">>, longstr, <<"all">>},
    [Red, Blue] = [[All, Colour(Name)] || Name <- [<<"red">>, <<"blue">>]],
    bind(Channel, Queue, Exchange, <<>>, Red),
    bind(Channel, Queue, Exchange, <<>>, Blue),
    unbind(Channel, Queue, Exchange, <<>>, Red),
    unbind(Channel, Queue, Exchange, <<"never bound">>, Blue),
    [publish(Channel, Exchange, <<>>, with_headers([Colour(Name)], Name)) || Name <- [<<"red">>, <<"blue">>]],
    equal(drain(Channel, Queue), [<<"blue">>], "messages").

%% Takes everything out of queues, none of which may be empty: all numbers must be there, once each.
shares(Channel, Queues, Count) ->
    Shares = [drain(Channel, Queue) || Queue <- Queues],
    is_true(not lists:member([], Shares), "every queue gets some"),
    equal(lists:sort(lists:append(Shares)), lists:sort(numbers(1, Count)), "messages in all queues"),
    Shares.

consistent_hash_exchange(Session) ->
    Channel = channel(Session),
    ByKey = exchange(Session, Channel, <<"x-consistent-hash">>, "by key"),
    Arguments = [{<<"hash-header">>, longstr, <<"hash-on">>}],
    Declare = #'exchange.declare'{arguments = Arguments},
    ByHeader = exchange(Session, Channel, <<"x-consistent-hash">>, "by header", Declare),
    Queues = [weighed_queue(Session, Channel, [ByKey, ByHeader], Weighed) || Weighed <- ["a 1", "b 1", "c 4"]],
    lists:foreach(
        fun(PublishAll) ->
            PublishAll(),
            Shares = shares(Channel, Queues, 1000),
            [Light, AsLight, Heavy] = [length(Share) || Share <- Shares],
            is_true(Heavy > Light andalso Heavy > AsLight, "the weight 4 gets most"),
            PublishAll(),
            equal([drain(Channel, Queue) || Queue <- Queues], Shares, "the same again")
        end,
        [
            fun() -> publish_all(Channel, ByKey, numbers(1, 1000)) end,
            fun() -> [publish_hashed(Channel, ByHeader, Number) || Number <- numbers(1, 1000)] end
        ]
    ).

weighed_queue(Session, Channel, Exchanges, Label = [_, $\s | Weight]) ->
    Queue = queue(Session, Channel, Label),
    [bind(Channel, Queue, Exchange, list_to_binary(Weight)) || Exchange <- Exchanges],
    Queue.

publish_hashed(Channel, Exchange, Number) ->
    publish(Channel, Exchange, <<"the same key">>, with_headers([{<<"hash-on">>, longstr, Number}], Number)).

modulus_hash_exchange(Session) ->
    Channel = channel(Session),
    Exchange = exchange(Session, Channel, <<"x-modulus-hash">>, "exchange"),
    Queues = [bound_queue(Session, Channel, Exchange, Key) || Key <- numbers(1, 3)],
    publish_all(Channel, Exchange, numbers(1, 100)),
    Shares = [drain(Channel, Queue) || Queue <- Queues],
    equal(lists:sort(lists:append(Shares)), lists:sort(numbers(1, 100)), "messages in all queues"),
    publish_all(Channel, Exchange, numbers(1, 100)),
    equal([drain(Channel, Queue) || Queue <- Queues], Shares, "the same keys again").

random_exchange(Session) ->
    Channel = channel(Session),
    Exchange = exchange(Session, Channel, <<"x-random">>, "exchange"),
    Queues = [bound_queue(Session, Channel, Exchange, Key) || Key <- numbers(1, 3)],
    [publish(Channel, Exchange, <<"the same key">>, Number) || Number <- numbers(1, 200)],
    shares(Channel, Queues, 200).

recent_history_exchange(Session) ->
    Channel = channel(Session),
    Arguments = [{<<"x-recent-history-length">>, signedint, 5}],
    Declare = #'exchange.declare'{arguments = Arguments},
    Exchange = exchange(Session, Channel, <<"x-recent-history">>, "exchange", Declare),
    Early = bound_queue(Session, Channel, Exchange, <<"early">>),
    [publish(Channel, Exchange, <<>>, Number) || Number <- numbers(1, 10)],
    Late = bound_queue(Session, Channel, Exchange, <<"late">>),
    publish(Channel, Exchange, <<>>, <<"11">>),
    equal(drain(Channel, Early), numbers(1, 11), "messages of the queue bound early"),
    await_ready(Channel, Late, 6),
    equal(drain(Channel, Late), numbers(6, 11), "messages of the queue bound late").

delayed_exchange(Session) ->
    Channel = channel(Session),
    Arguments = [{<<"x-delayed-type">>, longstr, <<"direct">>}],
    Declare = #'exchange.declare'{arguments = Arguments},
    Exchange = exchange(Session, Channel, <<"x-delayed-message">>, "exchange", Declare),
    Tag = consume_no_ack(Channel, bound_queue(Session, Channel, Exchange, <<"key">>)),
    Started = erlang:monotonic_time(millisecond),
    [
        publish(Channel, Exchange, Key, with_headers([{<<"x-delay">>, signedint, Delay}], integer_to_binary(Delay)))
     || Delay <- [300, 100, 200], Key <- [<<"key">>, <<"another key">>]
    ],
    lists:foreach(
        fun(Delay) ->
            equal(bodies(take(Tag, 1)), [integer_to_binary(Delay)], "next message"),
            is_true(erlang:monotonic_time(millisecond) - Started >= Delay, "its delay is over")
        end,
        [100, 200, 300]
    ),
    equal(finish(Channel, Tag), [], "further messages").

sender_selected_keys(Session) ->
    Channel = channel(Session),
    Exchange = exchange(Session, Channel, <<"direct">>, "exchange"),
    Queues = [bound_queue(Session, Channel, Exchange, Key) || Key <- [<<"to">>, <<"cc">>, <<"bcc">>]],
    Cc = {<<"CC">>, array, [{longstr, <<"cc">>}, {longstr, <<"to">>}]},
    Bcc = {<<"BCC">>, array, [{longstr, <<"bcc">>}]},
    Kept = {<<"kept">>, longstr, <<"yes">>},
    publish(Channel, Exchange, <<"to">>, with_headers([Cc, Bcc, Kept], <<"letter">>)),
    lists:foreach(
        fun(Queue) ->
            {#'basic.get_ok'{routing_key = <<"to">>}, Letter} = get_one_no_ack(Channel, Queue),
            equal(lists:sort(Letter#amqp_msg.props#'P_basic'.headers), [Cc, Kept], ["headers in ", Queue]),
            equal(Letter#amqp_msg.payload, <<"letter">>, "body"),
            equal(drain(Channel, Queue), [], ["further copies in ", Queue])
        end,
        Queues
    ).
