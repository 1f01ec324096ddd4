-module(load_scenarios).

-export([concurrent_publishing/1, slow_consumer/1, unread_consumer/1, survives_restart/1, automatic_recovery/1]).

-include("scenarios.hrl").

-define(PUBLISHERS, 8).
-define(MESSAGES_EACH, 1000).
-define(RESTART_TIMEOUT_MS, 40_000).
-define(RETRY_INTERVAL_MS, 200).

%% Processes share a connection, each with a channel of its own.
concurrent_publishing(Session) ->
    Observer = channel(Session),
    Queue = shared_queue(Session, Observer, "queue"),
    Tag = consume_no_ack(Observer, Queue),
    Connection = connect(Session),
    Publishers = [
        spawn_monitor(fun() -> publish_confirmed(Connection, Queue, Publisher) end)
     || Publisher <- numbers(1, ?PUBLISHERS)
    ],
    [
        receive
            {'DOWN', Monitor, process, Process, Reason} -> equal(Reason, normal, "end of a publisher")
        end
     || {Process, Monitor} <- Publishers
    ],
    Received = [binary:split(Body, <<" ">>) || Body <- bodies(take(Tag, ?PUBLISHERS * ?MESSAGES_EACH))],
    [
        equal([Number || [By, Number] <- Received, By =:= Publisher], numbers(1, ?MESSAGES_EACH), "messages of one")
     || Publisher <- numbers(1, ?PUBLISHERS)
    ],
    equal(finish(Observer, Tag), [], "further messages").

publish_confirmed(Connection, Queue, Publisher) ->
    {ok, Channel} = amqp_connection:open_channel(Connection),
    confirm_mode(Channel),
    send(Channel, Queue, [<<Publisher/binary, " ", Number/binary>> || Number <- numbers(1, ?MESSAGES_EACH)]),
    true = amqp_channel:wait_for_confirms_or_die(Channel).

%% Publishes numbered messages of a size.
send_padded(Channel, Queue, Count, Size) ->
    Padding = binary:copy(<<".">>, Size),
    send(Channel, Queue, [<<Number/binary, " ", Padding/binary>> || Number <- numbers(1, Count)]).

without_padding(Deliveries) ->
    [hd(binary:split(Body, <<" ">>)) || Body <- bodies(Deliveries)].

%% Sends messages through another queue while one consumer does not keep up.
undisturbed(Session, Publisher) ->
    Fast = shared_queue(Session, Publisher, "fast"),
    Tag = consume_no_ack(channel(Session), Fast),
    send(Publisher, Fast, numbers(1, 5000)),
    equal(bodies(take(Tag, 5000)), numbers(1, 5000), "messages of the fast consumer").

slow_consumer(Session) ->
    Publisher = channel(Session),
    Queue = shared_queue(Session, Publisher, "slow"),
    Slow = channel(Session),
    #'basic.qos_ok'{} = amqp_channel:call(Slow, #'basic.qos'{prefetch_count = 20}),
    Tag = consume(Slow, Queue),
    send_padded(Publisher, Queue, 2000, 4096),
    undisturbed(Session, Publisher),
    Held = take(Tag, 20),
    await_ready(Publisher, Queue, 1980),
    ok = amqp_channel:call(Slow, #'basic.ack'{delivery_tag = get_tag(lists:last(Held)), multiple = true}),
    Deliveries = Held ++ [take_and_ack(Slow, Tag) || _ <- lists:seq(21, 2000)],
    equal(without_padding(Deliveries), numbers(1, 2000), "messages of the slow consumer"),
    equal(finish(Slow, Tag), [], "further messages").

take_and_ack(Channel, Tag) ->
    [Delivery] = take(Tag, 1),
    ok = amqp_channel:call(Channel, #'basic.ack'{delivery_tag = get_tag(Delivery)}),
    Delivery.

%% The client puts what it reads into the mailbox of whoever subscribed, however much that is, so it is the network that
%% stops.
unread_consumer(Session = #session{params = Params}) ->
    Publisher = channel(Session),
    Queue = shared_queue(Session, Publisher, "unread"),
    {Network, Through} = interop_network:start(Params#amqp_params_network{heartbeat = 60}),
    {ok, Channel} = amqp_connection:open_channel(connect(Session, Through)),
    Tag = consume_no_ack(Channel, Queue),
    interop_network:stop_reading(Network),
    send_padded(Publisher, Queue, 2000, 32768),
    undisturbed(Session, Publisher),
    interop_network:resume_reading(Network),
    equal(without_padding(take(Tag, 2000)), numbers(1, 2000), "messages read at last"),
    equal(finish(Channel, Tag), [], "further messages").

survives_restart(Session) ->
    Connection = connect(Session),
    Monitor = monitor(process, Connection),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    Exchange = exchange(Session, Channel, <<"direct">>, "exchange", #'exchange.declare'{durable = true}),
    Queue = declare(Session, Channel, "queue", #'queue.declare'{durable = true}),
    Bind = #'queue.bind'{queue = Queue, exchange = Exchange, routing_key = <<"key">>},
    #'queue.bind_ok'{} = amqp_channel:call(Channel, Bind),
    Persistent = #'P_basic'{delivery_mode = 2},
    send_confirmed(Channel, Queue, [#amqp_msg{props = Persistent, payload = N} || N <- numbers(1, 10)]),
    send_confirmed(Channel, Queue, [<<"transient">>]),
    [get_one(Channel, Queue) || _ <- [first, second, third]],
    ask(Session, restart),
    receive
        {'DOWN', Monitor, process, Connection, _} -> ok
    after ?RESTART_TIMEOUT_MS -> is_true(false, "the connection is closed")
    end,

    {ok, Next} = amqp_connection:open_channel(reconnect(Session, ?RESTART_TIMEOUT_MS div ?RETRY_INTERVAL_MS)),
    equal(counts(Next, Queue), {10, 0}, "the queue after the restart"),
    publish(Next, Exchange, <<"key">>, <<"new">>),
    Expected = [{again, N} || N <- numbers(1, 3)] ++ numbers(4, 10) ++ [<<"new">>],
    equal(marked(take_all(Next, Queue)), Expected, "messages").

%% Connects again to a broker that is on its way up.
reconnect(Session = #session{params = Params}, Times) ->
    case amqp_connection:start(Params) of
        {ok, Connection} ->
            interop_session:keep(Session, Connection);
        {error, Reason} ->
            is_true(Times > 0, io_lib:format("the broker is back: ~0tp", [Reason])),
            timer:sleep(?RETRY_INTERVAL_MS),
            reconnect(Session, Times - 1)
    end.

automatic_recovery(_) ->
    lacking("amqp_client does not connect again by itself: its users supervise what they start").
