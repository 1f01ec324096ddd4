-module(consuming_scenarios).

-export([consume_and_ack/1, no_ack/1, prefetch/1, prefetch_per_channel/1, ack_multiple/1, nack/1, reject/1]).
-export([requeue_order/1, recover/1, unacked_requeued_on_close/1, consumer_cancel/1, cancel_notify/1]).
-export([exclusive_consumer/1, round_robin/1, consumer_priority/1, get/1]).

-include("scenarios.hrl").

-define(EVENT_TIMEOUT_MS, 10_000).

%% Publishes five messages and takes them without acknowledging: their delivery tags.
five(Channel, Queue) ->
    send(Channel, Queue, numbers(1, 5)),
    Tag = consume(Channel, Queue),
    Deliveries = take(Tag, 5),
    equal(finish(Channel, Tag), [], "further deliveries"),
    [get_tag(Delivery) || Delivery <- Deliveries].

settle(Channel, Method) ->
    ok = amqp_channel:call(Channel, Method).

prefetch_of(Channel, Count) ->
    #'basic.qos_ok'{} = amqp_channel:call(Channel, #'basic.qos'{prefetch_count = Count}).

reopened(Connection, Channel) ->
    ok = amqp_channel:close(Channel),
    {ok, Next} = amqp_connection:open_channel(Connection),
    Next.

consume_and_ack(Session) ->
    Connection = connect(Session),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    Queue = queue(Session, Channel, "queue"),
    send(Channel, Queue, numbers(1, 100)),
    Tag = consume(Channel, Queue),
    lists:foreach(
        fun(N) ->
            Body = integer_to_binary(N),
            [{
                #'basic.deliver'{delivery_tag = N, redelivered = false, exchange = <<>>, routing_key = Queue},
                #amqp_msg{payload = Body}
            }] = take(Tag, 1),
            settle(Channel, #'basic.ack'{delivery_tag = N})
        end,
        lists:seq(1, 100)
    ),
    equal(drain(reopened(Connection, Channel), Queue), [], "messages left").

no_ack(Session) ->
    Connection = connect(Session),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    Queue = queue(Session, Channel, "queue"),
    prefetch_of(Channel, 1),
    Tag = consume_no_ack(Channel, Queue),
    send(Channel, Queue, numbers(1, 50)),
    equal(bodies(take(Tag, 50)), numbers(1, 50), "messages"),
    equal(drain(reopened(Connection, Channel), Queue), [], "messages left").

prefetch(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue"),
    prefetch_of(Channel, 5),
    send(Channel, Queue, numbers(1, 20)),
    First = consume(Channel, Queue),
    [Oldest | _] = take(First, 5),
    await_ready(Channel, Queue, 15),
    Second = consume(Channel, Queue),
    equal(bodies(take(Second, 5)), numbers(6, 10), "messages of the second consumer"),
    await_ready(Channel, Queue, 10),
    settle(Channel, #'basic.ack'{delivery_tag = get_tag(Oldest)}),
    equal(bodies(take(First, 1)), [<<"11">>], "message after the ack"),
    await_ready(Channel, Queue, 9),
    equal(finish(Channel, First), [], "further messages of the first consumer"),
    equal(finish(Channel, Second), [], "further messages of the second consumer").

prefetch_per_channel(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue"),
    #'basic.qos_ok'{} = amqp_channel:call(Channel, #'basic.qos'{prefetch_count = 5, global = true}),
    First = consume(Channel, Queue),
    Second = consume(Channel, Queue),
    send(Channel, Queue, numbers(1, 20)),
    take_from_either(5),
    await_ready(Channel, Queue, 15),
    settle(Channel, #'basic.ack'{delivery_tag = 0, multiple = true}),
    take_from_either(5),
    await_ready(Channel, Queue, 10),
    equal(finish(Channel, First), [], "further messages of the first consumer"),
    equal(finish(Channel, Second), [], "further messages of the second consumer").

take_from_either(0) ->
    ok;
take_from_either(Count) ->
    receive
        {#'basic.deliver'{}, _} -> take_from_either(Count - 1)
    after ?EVENT_TIMEOUT_MS -> equal(Count, 0, "deliveries to come")
    end.

ack_multiple(Session) ->
    Connection = connect(Session),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    Queue = queue(Session, Channel, "queue"),
    settle(Channel, #'basic.ack'{delivery_tag = lists:nth(3, five(Channel, Queue)), multiple = true}),
    Next = reopened(Connection, Channel),
    equal(marked(take_all(Next, Queue)), [{again, <<"4">>}, {again, <<"5">>}], "messages beyond the tag"),
    five(Next, Queue),
    settle(Next, #'basic.ack'{delivery_tag = 0, multiple = true}),
    equal(drain(reopened(Connection, Next), Queue), [], "messages left").

nack(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue"),
    [First, Second, _, Fourth, _] = five(Channel, Queue),
    settle(Channel, #'basic.nack'{delivery_tag = First, requeue = false}),
    settle(Channel, #'basic.nack'{delivery_tag = Second, requeue = true}),
    equal(marked(take_all(Channel, Queue)), [{again, <<"2">>}], "requeued one by one"),
    settle(Channel, #'basic.nack'{delivery_tag = Fourth, multiple = true, requeue = true}),
    equal(marked(take_all(Channel, Queue)), [{again, <<"3">>}, {again, <<"4">>}], "requeued up to the tag"),
    settle(Channel, #'basic.nack'{delivery_tag = 0, multiple = true, requeue = false}),
    settle(Channel, #'basic.nack'{delivery_tag = 0, multiple = true, requeue = true}),
    equal(drain(Channel, Queue), [], "messages left").

reject(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue"),
    [First, Second | Others] = five(Channel, Queue),
    settle(Channel, #'basic.reject'{delivery_tag = First, requeue = false}),
    settle(Channel, #'basic.reject'{delivery_tag = Second, requeue = true}),
    equal(marked(take_all(Channel, Queue)), [{again, <<"2">>}], "requeued"),
    [settle(Channel, #'basic.reject'{delivery_tag = Tag, requeue = false}) || Tag <- Others],
    equal(drain(Channel, Queue), [], "messages left").

requeue_order(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue"),
    Tags = five(Channel, Queue),
    send(Channel, Queue, [<<"6">>]),
    [
        settle(Channel, #'basic.nack'{delivery_tag = lists:nth(Position, Tags), requeue = true})
     || Position <- [3, 1, 5, 2, 4]
    ],
    Expected = [{again, Number} || Number <- numbers(1, 5)] ++ [<<"6">>],
    equal(marked(take_all(Channel, Queue)), Expected, "order after the requeue").

recover(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue"),
    send(Channel, Queue, numbers(1, 3)),
    Tag = consume(Channel, Queue),
    Deliveries = [First | _] = take(Tag, 3),
    settle(Channel, #'basic.ack'{delivery_tag = get_tag(First)}),
    #'basic.recover_ok'{} = amqp_channel:call(Channel, #'basic.recover'{requeue = true}),
    All = Deliveries ++ take(Tag, 2),
    equal(marked(All), [<<"1">>, <<"2">>, <<"3">>, {again, <<"2">>}, {again, <<"3">>}], "messages"),
    equal([get_tag(Delivery) || Delivery <- All], [1, 2, 3, 4, 5], "delivery tags").

unacked_requeued_on_close(Session) ->
    Observer = channel(Session),
    Queue = shared_queue(Session, Observer, "queue"),
    Holder = connect(Session),
    {ok, Channel} = amqp_connection:open_channel(Holder),
    {ok, Other} = amqp_connection:open_channel(Holder),
    send(Channel, Queue, numbers(1, 3)),
    equal(marked(take(consume(Channel, Queue), 3)), numbers(1, 3), "at first"),
    Second = consume(Other, Queue),
    ok = amqp_channel:close(Channel),
    Again = [{again, Number} || Number <- numbers(1, 3)],
    equal(marked(take(Second, 3)), Again, "after the channel closed"),
    Third = consume(Observer, Queue),
    ok = amqp_connection:close(Holder),
    equal(marked(take(Third, 3)), Again, "after the connection closed").

consumer_cancel(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue"),
    Tag = consume(Channel, #'basic.consume'{queue = Queue, consumer_tag = <<"my-consumer">>}),
    equal(Tag, <<"my-consumer">>, "consumer tag"),
    send(Channel, Queue, [<<"before">>]),
    [Delivery] = take(<<"my-consumer">>, 1),
    equal(finish(Channel, Tag), [], "deliveries until the cancel-ok"),
    send(Channel, Queue, [<<"after">>]),
    await_ready(Channel, Queue, 1),
    settle(Channel, #'basic.ack'{delivery_tag = get_tag(Delivery)}),
    equal(drain(Channel, Queue), [<<"after">>], "messages left").

cancel_notify(Session) ->
    Connection = connect(Session),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    {ok, Other} = amqp_connection:open_channel(Connection),
    Queue = queue(Session, Channel, "queue"),
    Tags = [consume(Channel, Queue), consume(Channel, Queue)],
    #'queue.delete_ok'{} = amqp_channel:call(Other, #'queue.delete'{queue = Queue}),
    Await = fun(Tag) ->
        receive
            #'basic.cancel'{consumer_tag = Tag} -> ok
        after ?EVENT_TIMEOUT_MS -> is_true(false, "the consumer is told")
        end
    end,
    lists:foreach(Await, Tags),
    is_true(is_process_alive(Channel), "the channel is open"),
    send(Channel, queue(Session, Channel, "another queue"), [<<"still works">>]).

exclusive_consumer(Session) ->
    Connection = connect(Session),
    {ok, Owner} = amqp_connection:open_channel(Connection),
    Queue = queue(Session, Owner, "queue"),
    Exclusive = #'basic.consume'{queue = Queue, exclusive = true},
    InUse = ["ACCESS_REFUSED - queue '", Queue, "' in vhost '/' in exclusive use"],
    Tag = consume(Owner, Exclusive),
    channel_error(Connection, 403, InUse, fun(Channel) -> consume(Channel, Queue) end),
    finish(Owner, Tag),
    consume(Owner, Queue),
    channel_error(Connection, 403, InUse, fun(Channel) -> consume(Channel, Exclusive) end).

round_robin(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue"),
    Tags = [consume_no_ack(Channel, Queue) || _ <- lists:seq(1, 3)],
    send(Channel, Queue, numbers(1, 30)),
    Turns = [bodies(take(Tag, 10)) || Tag <- Tags],
    Expected = [[integer_to_binary(N) || N <- lists:seq(First, 30, 3)] || First <- [1, 2, 3]],
    equal(lists:sort(Turns), lists:sort(Expected), "turns").

consumer_priority(Session) ->
    Channel = channel(Session),
    Queue = queue(Session, Channel, "queue"),
    WithPriority = fun(Priority) ->
        #'basic.consume'{queue = Queue, arguments = [{<<"x-priority">>, signedint, Priority}]}
    end,
    Low = consume(Channel, WithPriority(-5)),
    Usual = consume(Channel, Queue),
    prefetch_of(Channel, 3),
    High = consume(Channel, WithPriority(10)),
    send(Channel, Queue, numbers(1, 10)),
    equal(bodies(take(High, 3)), numbers(1, 3), "high priority, until its prefetch"),
    equal(bodies(take(Usual, 7)), numbers(4, 10), "usual priority"),
    [equal(finish(Channel, Tag), [], "further messages") || Tag <- [High, Usual, Low]].

get(Session) ->
    Connection = connect(Session),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    Queue = queue(Session, Channel, "queue"),
    #'basic.get_empty'{} = amqp_channel:call(Channel, #'basic.get'{queue = Queue}),
    send(Channel, Queue, [<<"a">>, <<"b">>, <<"c">>]),
    First = #'basic.get_ok'{
        delivery_tag = 1, redelivered = false, exchange = <<>>, routing_key = Queue, message_count = 2
    },
    {First, #amqp_msg{payload = <<"a">>}} = get_one(Channel, Queue),
    {#'basic.get_ok'{delivery_tag = 2, message_count = 1}, #amqp_msg{payload = <<"b">>}} =
        get_one_no_ack(Channel, Queue),
    Next = reopened(Connection, Channel),
    Again = First#'basic.get_ok'{redelivered = true, message_count = 1},
    {Again, #amqp_msg{payload = <<"a">>}} = get_one(Next, Queue),
    settle(Next, #'basic.ack'{delivery_tag = 1}),
    equal(drain(Next, Queue), [<<"c">>], "messages left").
