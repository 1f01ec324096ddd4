-module(connection_scenarios).

-export([connect_by_uri/1, connect_by_options/1, server_properties/1, amqplain_login/1, wrong_password/1]).
-export([unknown_vhost/1, heartbeats/1, heartbeat_missed/1, update_secret/1, small_frames/1, graceful_shutdown/1]).
-export([round_trip/2]).

-include("scenarios.hrl").

-define(EVENT_TIMEOUT_MS, 10_000).
-define(IDLE_MS, 3_500).
-define(LOGIN_REFUSED,
    "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
).

round_trip(Session, Connection) ->
    {ok, Channel} = amqp_connection:open_channel(Connection),
    Queue = queue(Session, Channel, "round trip"),
    send(Channel, Queue, [<<"there and back">>]),
    equal(drain(Channel, Queue), [<<"there and back">>], "messages").

info(Connection, Item) ->
    [{Item, Value}] = amqp_connection:info(Connection, [Item]),
    Value.

connect_by_uri(Session = #session{params = #amqp_params_network{username = User, password = Password,
                                                                host = Host, port = Port}}) ->
    Uri = io_lib:format("amqp://~ts:~ts@~s:~b/%2F?heartbeat=17", [User, Password, Host, Port]),
    {ok, Params} = amqp_uri:parse(lists:flatten(Uri)),
    equal(Params#amqp_params_network.virtual_host, <<"/">>, "vhost"),
    Connection = connect(Session, Params),
    equal(info(Connection, heartbeat), 17, "heartbeat"),
    round_trip(Session, Connection),
    Monitor = monitor(process, Connection),
    ok = amqp_connection:close(Connection),
    receive
        {'DOWN', Monitor, process, Connection, Reason} -> equal(Reason, {shutdown, normal}, "end")
    after ?EVENT_TIMEOUT_MS -> is_true(false, "the connection has ended")
    end.

connect_by_options(Session = #session{params = Given}) ->
    Name = name(Session, "connection"),
    {ok, Connection} = amqp_connection:start(
        #amqp_params_network{
            username = Given#amqp_params_network.username,
            password = Given#amqp_params_network.password,
            host = Given#amqp_params_network.host,
            port = Given#amqp_params_network.port,
            virtual_host = <<"/">>,
            channel_max = 5,
            frame_max = 65536,
            heartbeat = 17
        },
        Name
    ),
    interop_session:keep(Session, Connection),
    equal(info(Connection, channel_max), 5, "channel_max"),
    equal(info(Connection, frame_max), 65536, "frame_max"),
    equal(info(Connection, heartbeat), 17, "heartbeat"),
    equal(amqp_connection:connection_name(Connection), Name, "connection name"),
    round_trip(Session, Connection),
    [{ok, _} = amqp_connection:open_channel(Connection) || _ <- lists:seq(1, 4)],
    equal(amqp_connection:open_channel(Connection), {error, out_of_channel_numbers}, "a sixth channel").

server_properties(Session) ->
    Properties = info(connect(Session), server_properties),
    {_, longstr, <<"RabbitMQ">>} = lists:keyfind(<<"product">>, 1, Properties),
    {_, longstr, Version} = lists:keyfind(<<"version">>, 1, Properties),
    {match, _} = re:run(Version, "^\\d+\\.\\d+\\.\\d+$"),
    {_, table, Capabilities} = lists:keyfind(<<"capabilities">>, 1, Properties),
    [
        equal(lists:keyfind(Capability, 1, Capabilities), {Capability, bool, true}, Capability)
     || Capability <- [
            <<"publisher_confirms">>,
            <<"exchange_exchange_bindings">>,
            <<"basic.nack">>,
            <<"consumer_cancel_notify">>,
            <<"connection.blocked">>,
            <<"consumer_priorities">>,
            <<"authentication_failure_close">>,
            <<"per_consumer_qos">>,
            <<"direct_reply_to">>
        ]
    ].

amqplain_login(Session = #session{params = Params}) ->
    Amqplain = Params#amqp_params_network{auth_mechanisms = [fun amqp_auth_mechanisms:amqplain/3]},
    round_trip(Session, connect(Session, Amqplain)).

wrong_password(#session{params = Params = #amqp_params_network{username = User}}) ->
    [
        equal(
            amqp_connection:start(Params#amqp_params_network{username = Name, password = <<"wrong">>}),
            {error, {auth_failure, ?LOGIN_REFUSED}},
            "refusal"
        )
     || Name <- [User, <<"nobody">>]
    ].

%% The client keeps the code, as an atom, and drops the text.
unknown_vhost(#session{params = Params}) ->
    Refusal = amqp_connection:start(Params#amqp_params_network{virtual_host = <<"nowhere">>}),
    equal(amqp_connection:error_atom(530), not_allowed, "atom of the code"),
    equal(Refusal, {error, not_allowed}, "refusal").

heartbeats(Session = #session{params = Params}) ->
    Connection = connect(Session, Params#amqp_params_network{heartbeat = 1}),
    equal(info(Connection, heartbeat), 1, "heartbeat"),
    Monitor = monitor(process, Connection),
    receive
        {'DOWN', Monitor, process, Connection, Reason} -> equal(Reason, none, "end of the idle connection")
    after ?IDLE_MS -> ok
    end,
    round_trip(Session, Connection).

heartbeat_missed(Session = #session{params = Params}) ->
    Observer = channel(Session),
    Queue = shared_queue(Session, Observer, "queue"),
    {Network, Through} = interop_network:start(Params#amqp_params_network{heartbeat = 1}),
    Connection = connect(Session, Through),
    {ok, Holder} = amqp_connection:open_channel(Connection),
    send(Holder, Queue, [<<"held">>]),
    take(consume(Holder, Queue), 1),
    Monitor = monitor(process, Connection),
    interop_network:fall_silent(Network),
    equal(marked(take(consume(Observer, Queue), 1)), [{again, <<"held">>}], "messages of the observer"),
    receive
        {'DOWN', Monitor, process, Connection, Reason} ->
            equal(Reason, socket_closed_unexpectedly, "end of the silent connection")
    after ?EVENT_TIMEOUT_MS -> is_true(false, "the silent connection is closed")
    end.

update_secret(Session = #session{params = #amqp_params_network{password = Password}}) ->
    Connection = connect(Session),
    ok = amqp_connection:update_secret(Connection, Password, <<"rotation">>),
    round_trip(Session, Connection).

small_frames(Session = #session{params = Params}) ->
    Connection = connect(Session, Params#amqp_params_network{frame_max = 4096}),
    equal(info(Connection, frame_max), 4096, "frame_max"),
    {ok, Channel} = amqp_connection:open_channel(Connection),
    Queue = queue(Session, Channel, "queue"),
    Body = messages_scenarios:pattern(100_000),
    Headers = [{<<"long">>, longstr, binary:copy(<<"h">>, 3000)}],
    publish(Channel, <<>>, Queue, #amqp_msg{props = #'P_basic'{headers = Headers}, payload = Body}),
    {_, #amqp_msg{props = Properties, payload = Received}} = get_one_no_ack(Channel, Queue),
    equal(byte_size(Received), byte_size(Body), "body size"),
    is_true(Received =:= Body, "the body is unchanged"),
    equal(Properties#'P_basic'.headers, Headers, "headers").

graceful_shutdown(Session) ->
    Connection = connect(Session),
    round_trip(Session, Connection),
    Monitor = monitor(process, Connection),
    ask(Session, stop),
    Text = <<"CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'">>,
    interop_expect:closed_with(Monitor, ?EVENT_TIMEOUT_MS, {320, Text}).
