%% One scenario's view of the broker: its connections, and names that nothing else uses.
-module(interop_session).

-export([open/2, close/1, ask/2, connect/1, connect/2, keep/2, channel/1, name/2]).
-export([queue/3, queue/4, shared_queue/3, declare/4, bound_queue/4, exchange/4, exchange/5]).

-include("interop.hrl").

-define(CLOSE_TIMEOUT_MS, 5_000).

open(Scenario, Url) ->
    {ok, Params} = amqp_uri:parse(Url),
    Token = io_lib:format("~8.16.0b", [rand:uniform(16#ffffffff)]),
    Belongings = ets:new(belongings, [duplicate_bag, public]),
    #session{scenario = Scenario, url = Url, params = Params, token = Token, belongings = Belongings}.

close(Session = #session{belongings = Belongings}) ->
    [close_connection(Connection) || {connection, Connection} <- ets:lookup(Belongings, connection)],
    case [Deletion || {deletion, Deletion} <- ets:lookup(Belongings, deletion)] of
        [] -> ok;
        Deletions -> delete_all(Session, Deletions)
    end,
    ets:delete(Belongings).

close_connection(Connection) ->
    catch amqp_connection:close(Connection, ?CLOSE_TIMEOUT_MS).

%% If the broker is gone, what was declared is gone with it.
delete_all(#session{params = Params}, Deletions) ->
    case amqp_connection:start(Params) of
        {ok, Connection} ->
            {ok, Channel} = amqp_connection:open_channel(Connection),
            [catch amqp_channel:call(Channel, Deletion) || Deletion <- Deletions],
            close_connection(Connection);
        {error, _} ->
            ok
    end.

%% Asks the runner to do something to the broker: stop, restart, block or unblock.
ask(#session{scenario = Scenario}, What) ->
    interop:report(Scenario, #{event => What}).

connect(Session = #session{params = Params}) ->
    connect(Session, Params).

connect(Session, Params) ->
    {ok, Connection} = amqp_connection:start(Params),
    keep(Session, Connection).

%% Has a connection closed after the scenario.
keep(#session{belongings = Belongings}, Connection) ->
    ets:insert(Belongings, {connection, Connection}),
    Connection.

%% A channel on a connection of its own.
channel(Session) ->
    {ok, Channel} = amqp_connection:open_channel(connect(Session)),
    Channel.

name(#session{scenario = Scenario, token = Token}, Label) ->
    unicode:characters_to_binary(["interop.", Scenario, ".", Label, ".", Token]).

%% Declares a queue that goes with the channel's connection.
queue(Session, Channel, Label) ->
    queue(Session, Channel, Label, []).

queue(Session, Channel, Label, Arguments) ->
    declare(Session, Channel, Label, #'queue.declare'{exclusive = true, arguments = Arguments}).

%% Declares a queue that any connection may use, deleted after the scenario.
shared_queue(Session, Channel, Label) ->
    declare(Session, Channel, Label, #'queue.declare'{}).

declare(Session, Channel, Label, Declare) ->
    Queue = name(Session, Label),
    later(Session, Declare, #'queue.delete'{queue = Queue}),
    #'queue.declare_ok'{queue = Queue} = amqp_channel:call(Channel, Declare#'queue.declare'{queue = Queue}),
    Queue.

later(_, #'queue.declare'{exclusive = true}, _) -> ok;
later(#session{belongings = Belongings}, _, Deletion) -> ets:insert(Belongings, {deletion, Deletion}).

%% Declares a queue of the connection with the binding key's name and binds it.
bound_queue(Session, Channel, Exchange, Key) ->
    Queue = queue(Session, Channel, ["bound by ", Key]),
    Bind = #'queue.bind'{queue = Queue, exchange = Exchange, routing_key = Key},
    #'queue.bind_ok'{} = amqp_channel:call(Channel, Bind),
    Queue.

%% Declares an exchange, deleted after the scenario.
exchange(Session, Channel, Type, Label) ->
    exchange(Session, Channel, Type, Label, #'exchange.declare'{}).

exchange(Session, Channel, Type, Label, Declare) ->
    Exchange = name(Session, Label),
    later(Session, Declare, #'exchange.delete'{exchange = Exchange}),
    Declared = Declare#'exchange.declare'{exchange = Exchange, type = Type},
    #'exchange.declare_ok'{} = amqp_channel:call(Channel, Declared),
    Exchange.
