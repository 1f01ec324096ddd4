%% Plays the scenarios named as arguments against the broker at AMQP_URL, a line of JSON for each event.
-module(interop).

-export([main/0, report/2]).

-include("interop.hrl").

-define(SCENARIO_TIMEOUT_MS, 45_000).

%% A scenario is a function of its name and one argument, the session, that returns if all is well and fails if not.
-define(GROUPS, [
    connection_scenarios,
    channels_scenarios,
    queues_scenarios,
    exchanges_scenarios,
    dead_letters_scenarios,
    messages_scenarios,
    publishing_scenarios,
    consuming_scenarios,
    transactions_and_rpc_scenarios,
    load_scenarios
]).

main() ->
    ok = io:setopts([{encoding, unicode}]),
    log_to_standard_error(),
    lists:foreach(fun(Name) -> play(Name, os:getenv("AMQP_URL")) end, init:get_plain_arguments()),
    halt(0).

log_to_standard_error() ->
    ok = logger:remove_handler(default),
    ok = logger:add_handler(default, logger_std_h, #{config => #{type => standard_error}}).

play(Name, Url) ->
    report(Name, #{event => started}),
    Started = erlang:monotonic_time(millisecond),
    Session = interop_session:open(Name, Url),
    Outcome = play_within(?SCENARIO_TIMEOUT_MS, find(Name), Session),
    interop_session:close(Session),
    Seconds = (erlang:monotonic_time(millisecond) - Started) / 1000,
    report(Name, Outcome#{seconds => Seconds}).

play_within(_, none, _) ->
    failed("the client has no such scenario");
play_within(TimeoutMs, Scenario, Session) ->
    Runner = self(),
    {Player, Monitor} = spawn_monitor(fun() ->
        Runner ! {self(), outcome(Scenario, Session)},
        exit(shutdown)
    end),
    receive
        {Player, Outcome} ->
            Outcome;
        {'DOWN', Monitor, process, Player, Reason} ->
            failed(io_lib:format("the scenario died: ~0tp", [Reason]))
    after TimeoutMs ->
        exit(Player, kill),
        failed(io_lib:format("not done after ~b ms", [TimeoutMs]))
    end.

find(Name) ->
    Having = fun(Group) ->
        {module, Group} = code:ensure_loaded(Group),
        [fun(Session) -> Group:Function(Session) end
         || {Function, 1} <- Group:module_info(exports), atom_to_list(Function) =:= Name, Function =/= module_info]
    end,
    case lists:flatmap(Having, ?GROUPS) of
        [Scenario] -> Scenario;
        [] -> none
    end.

outcome(Scenario, Session) ->
    try
        Scenario(Session),
        #{event => passed}
    catch
        throw:{lacking, Reason} ->
            #{event => lacking, message => unicode:characters_to_binary(Reason)};
        error:{expected, Text}:Stack ->
            failed([Text, place(Stack)]);
        Class:Reason:Stack ->
            failed([io_lib:format("~s: ~0tp", [Class, Reason]), place(Stack)])
    end.

failed(Text) ->
    #{event => failed, message => unicode:characters_to_binary(Text)}.

%% The scenario's own line that failed, the innermost one.
place(Stack) ->
    Lines = [{filename:basename(File), Line}
             || {Module, _, _, [{file, File}, {line, Line} | _]} <- Stack, lists:member(Module, ?GROUPS)],
    case Lines of
        [{File, Line} | _] -> io_lib:format(" (~ts:~b)", [File, Line]);
        [] -> ""
    end.

report(Name, Event) ->
    io:put_chars([jsx:encode(Event#{scenario => unicode:characters_to_binary(Name)}), $\n]).
