-module(transactions_and_rpc_scenarios).

-export([tx_commit/1, tx_rollback/1, rpc_reply_queue/1, direct_reply_to/1, direct_reply_to_errors/1]).

-include("scenarios.hrl").

-define(REPLY_TO, <<"amq.rabbitmq.reply-to">>).
-define(EVENT_TIMEOUT_MS, 10_000).

two_channels(Connection) ->
    {ok, Observer} = amqp_connection:open_channel(Connection),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    {Observer, Channel}.

%% Begins a transaction with an acknowledgement and messages.
begin_with(Channel, Queue, Done, Messages) ->
    send(Channel, Queue, [<<"job">>]),
    #'tx.select_ok'{} = amqp_channel:call(Channel, #'tx.select'{}),
    Job = get_one(Channel, Queue),
    send(Channel, Done, Messages),
    ok = amqp_channel:call(Channel, #'basic.ack'{delivery_tag = get_tag(Job)}).

tx_commit(Session) ->
    Connection = connect(Session),
    {Observer, Channel} = two_channels(Connection),
    Queue = queue(Session, Observer, "queue"),
    Done = queue(Session, Observer, "done"),
    begin_with(Channel, Queue, Done, [<<"one">>, <<"two">>]),
    equal(drain(Channel, Done), [], "messages before the commit"),
    #'tx.commit_ok'{} = amqp_channel:call(Channel, #'tx.commit'{}),
    equal(drain(Observer, Done), [<<"one">>, <<"two">>], "messages after the commit"),
    ok = amqp_channel:close(Channel),
    equal(drain(Observer, Queue), [], "jobs left"),
    NoTransaction = "PRECONDITION_FAILED - channel is not transactional",
    channel_error(Connection, 406, NoTransaction, fun(Other) -> amqp_channel:call(Other, #'tx.commit'{}) end),
    NoConfirms = "PRECONDITION_FAILED - cannot switch from tx to confirm mode",
    channel_error(Connection, 406, NoConfirms, fun(Other) ->
        #'tx.select_ok'{} = amqp_channel:call(Other, #'tx.select'{}),
        confirm_mode(Other)
    end).

tx_rollback(Session) ->
    Connection = connect(Session),
    {Observer, Channel} = two_channels(Connection),
    Queue = queue(Session, Observer, "queue"),
    Done = queue(Session, Observer, "done"),
    begin_with(Channel, Queue, Done, [<<"dropped">>]),
    #'tx.rollback_ok'{} = amqp_channel:call(Channel, #'tx.rollback'{}),
    equal(drain(Observer, Done), [], "messages after the rollback"),
    equal(drain(Observer, Queue), [], "jobs to be had while the channel holds one"),
    send(Channel, Done, [<<"kept">>]),
    #'tx.commit_ok'{} = amqp_channel:call(Channel, #'tx.commit'{}),
    ok = amqp_channel:close(Channel),
    equal(drain(Observer, Done), [<<"kept">>], "messages of the next transaction"),
    equal(marked(take_all(Observer, Queue)), [{again, <<"job">>}], "the job comes back").

double(Body) ->
    integer_to_binary(2 * binary_to_integer(Body)).

%% The client's own RPC: it makes up the correlation ids and the reply queue.
rpc_reply_queue(Session) ->
    Requests = shared_queue(Session, channel(Session), "requests"),
    Server = amqp_rpc_server:start(connect(Session), Requests, fun double/1),
    Caller = amqp_rpc_client:start(connect(Session), Requests),
    Calling = self(),
    [spawn_link(fun() -> Calling ! {N, amqp_rpc_client:call(Caller, N)} end) || N <- numbers(1, 100)],
    lists:foreach(
        fun(N) ->
            receive
                {N, Answer} -> equal(Answer, double(N), "answer")
            after ?EVENT_TIMEOUT_MS -> is_true(false, ["call ", N, " is answered"])
            end
        end,
        numbers(1, 100)
    ),
    ok = amqp_rpc_client:stop(Caller),
    ok = amqp_rpc_server:stop(Server).

%% Answers each request with twice its number, wherever it wants the answer, until its channel closes.
serve_doubles(Channel, Requests) ->
    spawn_link(fun() ->
        monitor(process, Channel),
        consume(Channel, Requests),
        serve(Channel)
    end).

serve(Channel) ->
    receive
        {#'basic.deliver'{delivery_tag = Tag}, #amqp_msg{props = Properties, payload = Body}} ->
            #'P_basic'{reply_to = ReplyTo, correlation_id = Correlation} = Properties,
            Answer = #amqp_msg{props = #'P_basic'{correlation_id = Correlation}, payload = double(Body)},
            ok = amqp_channel:cast(Channel, #'basic.publish'{routing_key = ReplyTo}, Answer),
            ok = amqp_channel:cast(Channel, #'basic.ack'{delivery_tag = Tag}),
            serve(Channel);
        {'DOWN', _, process, Channel, _} ->
            ok
    end.

direct_reply_to(Session) ->
    Connection = connect(Session),
    {ok, Server} = amqp_connection:open_channel(Connection),
    Callers = connect(Session),
    {ok, Caller} = amqp_connection:open_channel(Callers),
    Requests = shared_queue(Session, Server, "requests"),
    Replies = consume_no_ack(Caller, ?REPLY_TO),
    send(Caller, Requests, [#amqp_msg{props = #'P_basic'{reply_to = ?REPLY_TO}}]),
    {_, #amqp_msg{props = #'P_basic'{reply_to = Address}}} = await_one(Server, Requests),
    <<"amq.rabbitmq.reply-to.", _/binary>> = Address,
    equal(counts(Server, Address), {0, 1}, "the caller is there"),
    serve_doubles(Server, Requests),
    lists:foreach(
        fun(N) ->
            Correlation = <<"call-", N/binary>>,
            Properties = #'P_basic'{reply_to = ?REPLY_TO, correlation_id = Correlation},
            send(Caller, Requests, [#amqp_msg{props = Properties, payload = N}]),
            Double = double(N),
            [{
                #'basic.deliver'{exchange = <<>>},
                #amqp_msg{props = #'P_basic'{correlation_id = Correlation}, payload = Double}
            }] = take(Replies, 1)
        end,
        numbers(1, 100)
    ),
    equal(finish(Caller, Replies), [], "further replies"),
    ok = amqp_connection:close(Callers),
    NoQueue = queues_scenarios:no_queue(Address),
    channel_error(Connection, 404, NoQueue, fun(Channel) -> counts(Channel, Address) end).

direct_reply_to_errors(Session) ->
    Connection = connect(Session),
    Refused = fun(Text, Action) -> channel_error(Connection, 406, ["PRECONDITION_FAILED - ", Text], Action) end,
    Refused("reply consumer cannot acknowledge", fun(Channel) -> consume(Channel, ?REPLY_TO) end),
    Refused("reply consumer already set", fun(Channel) ->
        consume_no_ack(Channel, ?REPLY_TO),
        consume_no_ack(Channel, ?REPLY_TO)
    end),
    Refused("fast reply consumer does not exist", fun(Channel) ->
        send(Channel, <<"nobody">>, [#amqp_msg{props = #'P_basic'{reply_to = ?REPLY_TO}}])
    end).
