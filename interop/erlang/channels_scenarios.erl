-module(channels_scenarios).

-export([channel_open_close/1, thousand_channels/1, error_closes_only_the_channel/1, not_found/1, access_refused/1]).
-export([resource_locked/1, precondition_failed/1, duplicate_consumer_tag/1, not_implemented/1]).
-export([locked_text/1]).

-include("scenarios.hrl").

%% One number is all there is, so each channel takes that of the one before.
channel_open_close(Session = #session{params = Params}) ->
    Connection = connect(Session, Params#amqp_params_network{channel_max = 1}),
    OpenAndClose = fun(_) ->
        Channel = next_channel(Connection),
        equal(amqp_connection:open_channel(Connection), {error, out_of_channel_numbers}, "a second channel"),
        ok = amqp_channel:close(Channel)
    end,
    lists:foreach(OpenAndClose, lists:seq(1, 200)).

%% The connection gets to know that a channel has ended after everybody else.
next_channel(Connection) ->
    case amqp_connection:open_channel(Connection) of
        {ok, Channel} ->
            Channel;
        {error, out_of_channel_numbers} ->
            HasNone = fun() -> amqp_connection:info(Connection, [num_channels]) =:= [{num_channels, 0}] end,
            eventually(HasNone, "the number is free"),
            {ok, Channel} = amqp_connection:open_channel(Connection),
            Channel
    end.

thousand_channels(Session) ->
    Publisher = channel(Session),
    Queue = shared_queue(Session, Publisher, "queue"),
    Connection = connect(Session),
    Consumers = [consumer_of_one(Connection, Queue) || _ <- lists:seq(1, 1000)],
    send(Publisher, Queue, numbers(1, 1000)),
    Received = [Body || {_, Tag} <- Consumers, Body <- bodies(take(Tag, 1))],
    equal(lists:sort(Received), lists:sort(numbers(1, 1000)), "messages over all channels"),
    lists:foreach(
        fun({Channel, Tag}) ->
            ok = amqp_channel:call(Channel, #'basic.ack'{delivery_tag = 1}),
            equal(finish(Channel, Tag), [], "further messages of a channel"),
            ok = amqp_channel:close(Channel)
        end,
        Consumers
    ),
    equal(drain(Publisher, Queue), [], "messages left").

consumer_of_one(Connection, Queue) ->
    {ok, Channel} = amqp_connection:open_channel(Connection),
    #'basic.qos_ok'{} = amqp_channel:call(Channel, #'basic.qos'{prefetch_count = 1}),
    {Channel, consume(Channel, Queue)}.

%% There are numbers for two channels, so that the one after the error takes the number of the closed one.
error_closes_only_the_channel(Session = #session{params = Params}) ->
    Connection = connect(Session, Params#amqp_params_network{channel_max = 2}),
    {ok, Healthy} = amqp_connection:open_channel(Connection),
    Queue = queue(Session, Healthy, "healthy"),
    Held = queue(Session, Healthy, "held"),
    Tag = consume(Healthy, Queue),
    channel_error(Connection, 404, "NOT_FOUND - no queue 'nothing' in vhost '/'", fun(Faulty) ->
        send(Faulty, Held, [<<"unsettled">>]),
        get_one(Faulty, Held),
        amqp_channel:call(Faulty, #'queue.declare'{queue = <<"nothing">>, passive = true})
    end),
    send(Healthy, Queue, [<<"still here">>]),
    equal(bodies(take(Tag, 1)), [<<"still here">>], "messages of the other channel"),
    eventually(fun() -> amqp_connection:info(Connection, [num_channels]) =:= [{num_channels, 1}] end, "it is closed"),
    {ok, Next} = amqp_connection:open_channel(Connection),
    equal(marked(take_all(Next, Held)), [{again, <<"unsettled">>}], "messages of the closed channel").

%% Each method is called on a channel of its own, which the broker closes for it.
refused(Connection, Code, Attempts) ->
    lists:foreach(
        fun
            ({Text, Method, Message}) ->
                channel_error(Connection, Code, Text, fun(Channel) -> amqp_channel:call(Channel, Method, Message) end);
            ({Text, Method}) ->
                channel_error(Connection, Code, Text, fun(Channel) -> amqp_channel:call(Channel, Method) end)
        end,
        Attempts
    ).

not_found(Session) ->
    Connection = connect(Session),
    {ok, Owner} = amqp_connection:open_channel(Connection),
    Queue = queue(Session, Owner, "queue"),
    Exchange = exchange(Session, Owner, <<"direct">>, "exchange"),
    Nothing = <<"nothing">>,
    NoQueue = "NOT_FOUND - no queue 'nothing' in vhost '/'",
    NoExchange = "NOT_FOUND - no exchange 'nothing' in vhost '/'",
    refused(Connection, 404, [
        {NoQueue, #'queue.declare'{queue = Nothing, passive = true}},
        {NoQueue, #'basic.get'{queue = Nothing}},
        {NoQueue, #'basic.consume'{queue = Nothing}},
        {NoQueue, #'queue.purge'{queue = Nothing}},
        {NoQueue, #'queue.bind'{queue = Nothing, exchange = Exchange}},
        {NoExchange, #'queue.bind'{queue = Queue, exchange = Nothing}},
        {NoExchange, #'exchange.declare'{exchange = Nothing, passive = true}},
        {NoExchange, #'exchange.bind'{destination = Exchange, source = Nothing}},
        {NoExchange, #'basic.publish'{exchange = Nothing}, #amqp_msg{}},
        {"NOT_FOUND - no previously declared queue", #'basic.consume'{queue = <<>>}}
    ]),
    connection_scenarios:round_trip(Session, Connection).

access_refused(Session) ->
    Connection = connect(Session),
    {ok, Owner} = amqp_connection:open_channel(Connection),
    Queue = queue(Session, Owner, "queue"),
    Internal = exchange(Session, Owner, <<"fanout">>, "internal", #'exchange.declare'{internal = true}),
    DefaultExchange = "ACCESS_REFUSED - operation not permitted on the default exchange",
    refused(Connection, 403, [
        {
            "ACCESS_REFUSED - queue name 'amq.interop' contains reserved prefix 'amq.*'",
            #'queue.declare'{queue = <<"amq.interop">>}
        },
        {
            "ACCESS_REFUSED - exchange name 'amq.interop' contains reserved prefix 'amq.*'",
            #'exchange.declare'{exchange = <<"amq.interop">>}
        },
        {DefaultExchange, #'queue.bind'{queue = Queue, exchange = <<>>, routing_key = <<"key">>}},
        {DefaultExchange, #'queue.unbind'{queue = Queue, exchange = <<>>, routing_key = <<"key">>}},
        {DefaultExchange, #'exchange.delete'{exchange = <<>>}},
        {
            ["ACCESS_REFUSED - cannot publish to internal exchange '", Internal, "' in vhost '/'"],
            #'basic.publish'{exchange = Internal},
            #amqp_msg{}
        }
    ]).

locked_text(Queue) ->
    Text = iolist_to_binary([
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '", Queue, "' in vhost '/'. It could be ",
        "originally declared on another connection or the exclusive property value does not match that of the ",
        "original declaration."
    ]),
    binary:part(Text, 0, min(255, byte_size(Text))).

resource_locked(Session) ->
    Owner = channel(Session),
    Queue = queue(Session, Owner, "queue"),
    Text = locked_text(Queue),
    refused(connect(Session), 405, [
        {Text, #'queue.declare'{queue = Queue, exclusive = true}},
        {Text, #'queue.declare'{queue = Queue, passive = true}},
        {Text, #'basic.get'{queue = Queue}},
        {Text, #'basic.consume'{queue = Queue}},
        {Text, #'queue.purge'{queue = Queue}},
        {Text, #'queue.delete'{queue = Queue}},
        {Text, #'queue.bind'{queue = Queue, exchange = <<"amq.fanout">>}}
    ]),
    send(Owner, Queue, [<<"mine">>]),
    equal(drain(Owner, Queue), [<<"mine">>], "messages of the owner").

precondition_failed(Session) ->
    Connection = connect(Session),
    {ok, Owner} = amqp_connection:open_channel(Connection),
    Queue = queue(Session, Owner, "queue"),
    Exchange = exchange(Session, Owner, <<"fanout">>, "exchange"),
    #'queue.bind_ok'{} = amqp_channel:call(Owner, #'queue.bind'{queue = Queue, exchange = Exchange}),

    refused(Connection, 406, [{"PRECONDITION_FAILED - unknown delivery tag 99", #'basic.ack'{delivery_tag = 99}}]),
    channel_error(Connection, 406, "PRECONDITION_FAILED - unknown delivery tag 1", fun(Channel) ->
        send(Channel, Queue, [<<"once">>]),
        Ack = #'basic.ack'{delivery_tag = get_tag(get_one(Channel, Queue))},
        ok = amqp_channel:call(Channel, Ack),
        amqp_channel:call(Channel, Ack)
    end),

    send(Owner, Queue, [<<"kept">>]),
    await_ready(Owner, Queue, 1),
    NotEmpty = ["PRECONDITION_FAILED - queue '", Queue, "' in vhost '/' not empty"],
    refused(Connection, 406, [{NotEmpty, #'queue.delete'{queue = Queue, if_empty = true}}]),
    consume(Owner, Queue),
    QueueInUse = ["PRECONDITION_FAILED - queue '", Queue, "' in vhost '/' in use"],
    ExchangeInUse = ["PRECONDITION_FAILED - exchange '", Exchange, "' in vhost '/' in use"],
    refused(Connection, 406, [
        {QueueInUse, #'queue.delete'{queue = Queue, if_unused = true}},
        {ExchangeInUse, #'exchange.delete'{exchange = Exchange, if_unused = true}}
    ]).

duplicate_consumer_tag(Session) ->
    Bystander = connect(Session),
    {ok, Owner} = amqp_connection:open_channel(Bystander),
    Queue = shared_queue(Session, Owner, "queue"),
    Text = "NOT_ALLOWED - attempt to reuse consumer tag 'twice'",
    connection_error(connect(Session), 530, Text, fun(Channel) ->
        Consume = #'basic.consume'{queue = Queue, consumer_tag = <<"twice">>},
        consume(Channel, Consume),
        amqp_channel:subscribe(Channel, Consume, self())
    end),
    connection_scenarios:round_trip(Session, Bystander).

not_implemented(Session) ->
    Bystander = connect(Session),
    lists:foreach(
        fun({Text, Method}) ->
            Action = fun(Channel) -> amqp_channel:call(Channel, Method) end,
            connection_error(connect(Session), 540, Text, Action)
        end,
        [
            {"NOT_IMPLEMENTED - prefetch_size!=0 (1024)", #'basic.qos'{prefetch_size = 1024}},
            {"NOT_IMPLEMENTED - requeue=false", #'basic.recover'{requeue = false}},
            {"NOT_IMPLEMENTED - active=false", #'channel.flow'{active = false}}
        ]
    ),
    connection_scenarios:round_trip(Session, Bystander).
