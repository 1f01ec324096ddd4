-module(dead_letters_scenarios).

-export([dead_letter_rejected/1, dead_letter_expired/1, dead_letter_maxlen/1, dead_letter_retry/1]).
-export([deaths/1, dead_letters_to/1]).

-include("scenarios.hrl").

-define(ABOUT_NOW_S, 60).

headers({_, #amqp_msg{props = #'P_basic'{headers = Headers}}}) ->
    Headers.

%% The entries of x-death, without the time, which must be about now.
deaths(Letter) ->
    {_, array, Entries} = lists:keyfind(<<"x-death">>, 1, headers(Letter)),
    [death(Entry) || {table, Entry} <- Entries].

death(Entry) ->
    {value, {_, timestamp, Time}, Others} = lists:keytake(<<"time">>, 1, Entry),
    is_true(abs(erlang:system_time(second) - Time) < ?ABOUT_NOW_S, "the time is about now"),
    {_, long, _} = lists:keyfind(<<"count">>, 1, Others),
    maps:from_list([{Key, Value} || {Key, _, Value} <- Others]).

%% What is told of a message's first death.
first_death(Letter) ->
    [
        Value
     || Name <- [<<"x-first-death-reason">>, <<"x-first-death-queue">>, <<"x-first-death-exchange">>],
        {Key, longstr, Value} <- headers(Letter),
        Key =:= Name
    ].

%% The arguments of a queue whose dead letters go to another.
dead_letters_to(Queue) ->
    dead_letters_to(<<>>, Queue).

dead_letters_to(Exchange, Key) ->
    [{<<"x-dead-letter-exchange">>, longstr, Exchange}, {<<"x-dead-letter-routing-key">>, longstr, Key}].

dead_letter_rejected(Session) ->
    Channel = channel(Session),
    Source = exchange(Session, Channel, <<"direct">>, "source"),
    Exchange = exchange(Session, Channel, <<"direct">>, "dead letters"),
    Queue = queue(Session, Channel, "queue", dead_letters_to(Exchange, <<"rejected">>)),
    Bind = #'queue.bind'{queue = Queue, exchange = Source, routing_key = <<"order">>},
    #'queue.bind_ok'{} = amqp_channel:call(Channel, Bind),
    Dead = bound_queue(Session, Channel, Exchange, <<"rejected">>),
    Kept = {<<"kept">>, longstr, <<"yes">>},
    publish(Channel, Source, <<"order">>, #amqp_msg{
        props = #'P_basic'{message_id = <<"order-1">>, headers = [Kept]},
        payload = <<"order">>
    }),
    Reject = #'basic.reject'{delivery_tag = get_tag(get_one(Channel, Queue)), requeue = false},
    ok = amqp_channel:call(Channel, Reject),
    Letter = await_one(Channel, Dead),
    {
        #'basic.get_ok'{exchange = Exchange, routing_key = <<"rejected">>},
        #amqp_msg{props = #'P_basic'{message_id = <<"order-1">>}, payload = <<"order">>}
    } = Letter,
    is_true(lists:member(Kept, headers(Letter)), "the message's own header is kept"),
    Death = #{
        <<"count">> => 1,
        <<"reason">> => <<"rejected">>,
        <<"queue">> => Queue,
        <<"exchange">> => Source,
        <<"routing-keys">> => [{longstr, <<"order">>}]
    },
    equal(deaths(Letter), [Death], "x-death"),
    equal(first_death(Letter), [<<"rejected">>, Queue, Source], "x-first-death").

dead_letter_expired(Session) ->
    Channel = channel(Session),
    Dead = queue(Session, Channel, "dead"),
    Queue = queue(Session, Channel, "queue", dead_letters_to(Dead)),
    send(Channel, Queue, [#amqp_msg{props = #'P_basic'{expiration = <<"100">>}, payload = <<"late">>}]),
    Letter = await_one(Channel, Dead),
    {_, #amqp_msg{props = #'P_basic'{expiration = undefined}, payload = <<"late">>}} = Letter,
    Death = #{
        <<"count">> => 1,
        <<"reason">> => <<"expired">>,
        <<"queue">> => Queue,
        <<"exchange">> => <<>>,
        <<"routing-keys">> => [{longstr, Queue}],
        <<"original-expiration">> => <<"100">>
    },
    equal(deaths(Letter), [Death], "x-death"),
    equal(first_death(Letter), [<<"expired">>, Queue, <<>>], "x-first-death").

dead_letter_maxlen(Session) ->
    Channel = channel(Session),
    Dead = queue(Session, Channel, "dead"),
    Queue = queue(Session, Channel, "queue", [{<<"x-max-length">>, signedint, 2} | dead_letters_to(Dead)]),
    send(Channel, Queue, numbers(1, 3)),
    Letter = await_one(Channel, Dead),
    equal(bodies([Letter]), [<<"1">>], "letter"),
    Death = #{
        <<"count">> => 1,
        <<"reason">> => <<"maxlen">>,
        <<"queue">> => Queue,
        <<"exchange">> => <<>>,
        <<"routing-keys">> => [{longstr, Queue}]
    },
    equal(deaths(Letter), [Death], "x-death"),
    equal(first_death(Letter), [<<"maxlen">>, Queue, <<>>], "x-first-death"),
    equal(drain(Channel, Queue), numbers(2, 3), "messages left").

dead_letter_retry(Session) ->
    Channel = channel(Session),
    Waiting = [{<<"x-message-ttl">>, signedint, 100} | dead_letters_to(name(Session, "work"))],
    Retry = queue(Session, Channel, "retry", Waiting),
    Work = queue(Session, Channel, "work", dead_letters_to(Retry)),
    Tag = consume(Channel, Work),
    send(Channel, Work, [<<"task">>]),
    [
        ok = amqp_channel:call(Channel, #'basic.reject'{delivery_tag = get_tag(Task), requeue = false})
     || _ <- [first, second, third], Task <- take(Tag, 1)
    ],
    [Task] = take(Tag, 1),
    equal(bodies([Task]), [<<"task">>], "task"),
    Death = fun(Reason, Queue) ->
        #{
            <<"count">> => 3,
            <<"reason">> => Reason,
            <<"queue">> => Queue,
            <<"exchange">> => <<>>,
            <<"routing-keys">> => [{longstr, Queue}]
        }
    end,
    equal(deaths(Task), [Death(<<"expired">>, Retry), Death(<<"rejected">>, Work)], "x-death"),
    equal(first_death(Task), [<<"rejected">>, Work, <<>>], "x-first-death").
