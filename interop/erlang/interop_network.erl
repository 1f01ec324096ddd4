%% A way to the broker that a scenario can make silent, so that nothing more is sent, and deaf, so that nothing more is
%% read.
-module(interop_network).

-export([start/1, fall_silent/1, stop_reading/1, resume_reading/1]).

-include("interop.hrl").

%% Parameters that lead over the network to the broker that the given ones lead to. It ends with its connection.
start(Params = #amqp_params_network{host = Host, port = BrokerPort}) ->
    Options = [binary, {active, false}, {nodelay, true}],
    Starter = self(),
    Network = spawn(fun() ->
        {ok, Listener} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}} | Options]),
        {ok, Port} = inet:port(Listener),
        Starter ! {self(), Port},
        {ok, Client} = gen_tcp:accept(Listener),
        {ok, Broker} = gen_tcp:connect(Host, BrokerPort, Options),
        ToBroker = spawn_link(fun() -> forward(Client, Broker) end),
        ToClient = spawn_link(fun() -> forward(Broker, Client) end),
        serve(ToBroker, ToClient)
    end),
    receive
        {Network, Port} -> {Network, Params#amqp_params_network{host = "127.0.0.1", port = Port}}
    end.

fall_silent(Network) -> Network ! fall_silent.

stop_reading(Network) -> Network ! stop_reading.

resume_reading(Network) -> Network ! resume_reading.

serve(ToBroker, ToClient) ->
    receive
        fall_silent -> ToBroker ! hold;
        stop_reading -> ToClient ! hold;
        resume_reading -> ToClient ! go_on
    end,
    serve(ToBroker, ToClient).

forward(From, To) ->
    go_on_if_not_held(),
    case gen_tcp:recv(From, 0) of
        {ok, Bytes} ->
            go_on_if_not_held(),
            _ = gen_tcp:send(To, Bytes),
            forward(From, To);
        {error, _} ->
            exit(shutdown)
    end.

go_on_if_not_held() ->
    receive
        hold ->
            receive
                go_on -> ok
            end
    after 0 -> ok
    end.
