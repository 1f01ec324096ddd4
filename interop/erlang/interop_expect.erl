%% Exact comparisons, and the errors that the broker must answer with.
-module(interop_expect).

-export([equal/3, is_true/2, eventually/2, channel_error/4, connection_error/4, closed_with/3, lacking/1, fail/2]).

-include("interop.hrl").

-define(EVENT_TIMEOUT_MS, 10_000).
-define(POLL_INTERVAL_MS, 20).

fail(Format, Arguments) ->
    error({expected, io_lib:format(Format, Arguments)}).

equal(Expected, Expected, _) -> ok;
equal(Actual, Expected, What) -> fail("~ts: expected ~0tp, got ~0tp", [What, Expected, Actual]).

is_true(true, _) -> ok;
is_true(false, What) -> fail("not so: ~ts", [What]).

%% The client offers its users no way to do this.
lacking(Reason) ->
    throw({lacking, Reason}).

%% For what the broker finishes in the background without telling anybody.
eventually(Condition, What) ->
    eventually(Condition, What, erlang:monotonic_time(millisecond) + ?EVENT_TIMEOUT_MS).

eventually(Condition, What, Until) ->
    case Condition() of
        true ->
            ok;
        false ->
            is_true(erlang:monotonic_time(millisecond) < Until, What),
            timer:sleep(?POLL_INTERVAL_MS),
            eventually(Condition, What, Until)
    end.

%% Runs an action on a new channel, which the broker must close with this code and text.
channel_error(Connection, Code, Text, Action) ->
    {ok, Channel} = amqp_connection:open_channel(Connection),
    closed_by(Channel, Code, Text, fun() -> Action(Channel) end).

%% Runs an action on a new channel of a connection, which the broker must close with this code and text.
connection_error(Connection, Code, Text, Action) ->
    {ok, Channel} = amqp_connection:open_channel(Connection),
    closed_by(Connection, Code, Text, fun() -> Action(Channel) end).

%% A call that is refused exits with its channel's reason; it is known from the process in any case.
closed_by(Process, Code, Text, Action) ->
    Monitor = monitor(process, Process),
    try
        Action()
    catch
        exit:{{shutdown, _}, {gen_server, call, _}} -> refused
    end,
    closed_with(Monitor, ?EVENT_TIMEOUT_MS, {Code, unicode:characters_to_binary(Text)}).

%% Awaits that the monitored connection or channel is closed by the broker.
closed_with(Monitor, TimeoutMs, Expected) ->
    receive
        {'DOWN', Monitor, process, _, {shutdown, {server_initiated_close, Code, Text}}} ->
            equal({Code, Text}, Expected, "reason");
        {'DOWN', Monitor, process, _, Reason} ->
            fail("expected the end ~0tp, got ~0tp", [Expected, Reason])
    after TimeoutMs ->
        fail("expected the end ~0tp, but it goes on", [Expected])
    end.
