%% Steps that many scenarios share.
-module(interop_amqp).

-export([publish/4, send/3, send_confirmed/3, confirm_mode/1, confirmed/4, numbers/2]).
-export([consume/2, consume_no_ack/2, take/2, finish/2]).
-export([take_all/2, drain/2, get_one/2, get_one_no_ack/2, get_tag/1, bodies/1, marked/1]).
-export([counts/2, await_ready/3, await_one/2]).

-include("interop.hrl").

-define(EVENT_TIMEOUT_MS, 10_000).

publish(Channel, Exchange, Key, Message = #amqp_msg{}) ->
    Publish = #'basic.publish'{exchange = Exchange, routing_key = Key},
    ok = amqp_channel:call(Channel, Publish, Message);
publish(Channel, Exchange, Key, Body) ->
    publish(Channel, Exchange, Key, #amqp_msg{payload = Body}).

%% Puts messages into a queue.
send(Channel, Queue, Messages) ->
    lists:foreach(fun(Message) -> publish(Channel, <<>>, Queue, Message) end, Messages).

confirm_mode(Channel) ->
    #'confirm.select_ok'{} = amqp_channel:call(Channel, #'confirm.select'{}).

%% Publishes and returns whether the broker took the message.
confirmed(Channel, Exchange, Key, Message) ->
    publish(Channel, Exchange, Key, Message),
    amqp_channel:wait_for_confirms(Channel, {?EVENT_TIMEOUT_MS, millisecond}).

%% Puts messages into a queue, each of which must be confirmed.
send_confirmed(Channel, Queue, Messages) ->
    confirm_mode(Channel),
    [true = confirmed(Channel, <<>>, Queue, Message) || Message <- Messages].

numbers(First, Last) ->
    [integer_to_binary(Number) || Number <- lists:seq(First, Last)].

%% Subscribes this process, and returns the consumer tag.
consume(Channel, Consume = #'basic.consume'{}) ->
    #'basic.consume_ok'{consumer_tag = Tag} = amqp_channel:subscribe(Channel, Consume, self()),
    receive
        #'basic.consume_ok'{consumer_tag = Tag} -> Tag
    end;
consume(Channel, Queue) ->
    consume(Channel, #'basic.consume'{queue = Queue}).

consume_no_ack(Channel, Queue) ->
    consume(Channel, #'basic.consume'{queue = Queue, no_ack = true}).

%% Awaits a number of deliveries to a consumer.
take(_, 0) ->
    [];
take(Tag, Count) ->
    receive
        Delivery = {#'basic.deliver'{consumer_tag = Tag}, #amqp_msg{}} -> [Delivery | take(Tag, Count - 1)]
    after ?EVENT_TIMEOUT_MS ->
        interop_expect:fail("~b more deliveries awaited for ~b ms", [Count, ?EVENT_TIMEOUT_MS])
    end.

%% Cancels a consumer and returns everything that had arrived and was not taken.
finish(Channel, Tag) ->
    #'basic.cancel_ok'{} = amqp_channel:call(Channel, #'basic.cancel'{consumer_tag = Tag}),
    receive
        #'basic.cancel_ok'{consumer_tag = Tag} -> rest(Tag)
    end.

rest(Tag) ->
    receive
        Delivery = {#'basic.deliver'{consumer_tag = Tag}, #amqp_msg{}} -> [Delivery | rest(Tag)]
    after 0 ->
        []
    end.

bodies(Messages) ->
    [Body || {_, #amqp_msg{payload = Body}} <- Messages].

%% The bodies, those of messages that were delivered before with `again`.
marked(Messages) ->
    [mark(Method, Body) || {Method, #amqp_msg{payload = Body}} <- Messages].

mark(#'basic.deliver'{redelivered = true}, Body) -> {again, Body};
mark(#'basic.get_ok'{redelivered = true}, Body) -> {again, Body};
mark(_, Body) -> Body.

%% Takes everything out of a queue with get.
take_all(Channel, Queue) ->
    case amqp_channel:call(Channel, #'basic.get'{queue = Queue, no_ack = true}) of
        Message = {#'basic.get_ok'{}, _} -> [Message | take_all(Channel, Queue)];
        #'basic.get_empty'{} -> []
    end.

drain(Channel, Queue) ->
    bodies(take_all(Channel, Queue)).

%% Takes a message that must be there.
get_one(Channel, Queue) ->
    {#'basic.get_ok'{}, #amqp_msg{}} = amqp_channel:call(Channel, #'basic.get'{queue = Queue}).

get_one_no_ack(Channel, Queue) ->
    {#'basic.get_ok'{}, #amqp_msg{}} = amqp_channel:call(Channel, #'basic.get'{queue = Queue, no_ack = true}).

get_tag({#'basic.deliver'{delivery_tag = Tag}, _}) -> Tag;
get_tag({#'basic.get_ok'{delivery_tag = Tag}, _}) -> Tag.

%% Messages ready, and consumers.
counts(Channel, Queue) ->
    #'queue.declare_ok'{queue = Queue, message_count = Messages, consumer_count = Consumers} =
        amqp_channel:call(Channel, #'queue.declare'{queue = Queue, passive = true}),
    {Messages, Consumers}.

%% RabbitMQ answers a passive declare ahead of publishes that are still on their way to the queue.
await_ready(Channel, Queue, Count) ->
    IsReady = fun() -> element(1, counts(Channel, Queue)) =:= Count end,
    interop_expect:eventually(IsReady, io_lib:format("~b messages ready", [Count])).

%% Takes a message with get that is still on its way into the queue.
await_one(Channel, Queue) ->
    await_ready(Channel, Queue, 1),
    get_one_no_ack(Channel, Queue).
