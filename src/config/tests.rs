use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::broker::alarm::Marks;

/// Loads with this file, these variables and these flags.
fn load(file: &str, variables: &[(&str, &str)], flags: Flags) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("leveret.toml");
    fs::write(&path, file).unwrap();
    let variables: HashMap<_, _> = variables.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    Config::load_with(Some(&path), sources::environment().source(Some(variables)), flags)
        .map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
}

fn from_file(file: &str) -> Result<Config, String> {
    load(file, &[], Flags::default())
}

fn from_variables(variables: &[(&str, &str)]) -> Result<Config, String> {
    load("", variables, Flags::default())
}

#[test]
fn nothing_configured_is_the_default() {
    let config = from_file("").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.listeners, ["[::]:5672"]);
    assert_eq!(config.vhosts, ["/"]);
    assert_eq!(config.sasl().advertised(), "PLAIN AMQPLAIN");
    assert!(config.server.cluster_name.starts_with("leveret@"));
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "listeners = [\"localhost:1\"]\nlog.level = \"error\"\nlog.format = \"json\"";
    let level = ("LEVERET_LOG__LEVEL", "debug");
    let listeners = ("LEVERET_LISTENERS", "localhost:2, localhost:3");
    let flags = Flags { listeners: vec!["localhost:4".into()], ..Flags::default() };

    let config = load(file, &[], Flags::default()).unwrap();
    assert_eq!((config.log.level, config.listeners), (LogLevel::Error, vec!["localhost:1".into()]));
    let config = load(file, &[level, listeners], Flags::default()).unwrap();
    assert_eq!((config.log.level, config.log.format), (LogLevel::Debug, LogFormat::Json));
    assert_eq!(config.listeners, ["localhost:2", "localhost:3"]);
    let config = load(file, &[level, listeners], flags).unwrap();
    assert_eq!((config.log.level, config.listeners), (LogLevel::Debug, vec!["localhost:4".into()]));
}

#[test]
fn users_and_vhosts_of_the_command_line_are_added() {
    let flags =
        Flags { users: vec!["alice:s3:cret".into()], vhosts: vec!["/".into(), "test".into()], ..Flags::default() };
    let config = load("[[users]]\nname = \"bob\"\npassword = \"b\"", &[], flags).unwrap();
    assert_eq!(config.vhosts, ["/", "test"]);
    let store = config.user_store();
    let here = "127.0.0.1".parse().unwrap();
    for (name, password) in [("guest", "guest"), ("bob", "b"), ("alice", "s3:cret")] {
        assert!(store.authenticate(name, password.as_bytes(), here).is_ok(), "{name}");
    }
}

#[test]
fn a_configured_user_replaces_the_default_one_of_that_name() {
    let config = from_variables(&[("LEVERET_USERS", "guest:other,carol:c")]).unwrap();
    let here = "127.0.0.1".parse().unwrap();
    assert!(config.user_store().authenticate("guest", b"guest", here).is_err());
    assert!(config.user_store().authenticate("guest", b"other", here).is_ok());
    assert!(config.user_store().authenticate("carol", b"c", here).is_ok());
}

#[test]
fn the_default_user_can_be_renamed_or_left_out() {
    for config in [from_file("default_user = false"), from_variables(&[("LEVERET_DEFAULT_USER", "false")])] {
        let config = config.unwrap();
        assert_eq!(config.default_user, None);
        assert!(config.user_store().get("guest").is_none());
    }
    let config = from_variables(&[("LEVERET_DEFAULT_USER", "root"), ("LEVERET_DEFAULT_PASS", "x")]).unwrap();
    assert!(config.user_store().get("root").unwrap().has_tag("administrator"));
}

#[test]
fn anonymous_is_offered_only_where_it_is_named_and_has_a_user() {
    let named = "auth_mechanisms = [\"PLAIN\", \"ANONYMOUS\"]";
    assert_eq!(from_file(named).unwrap().sasl().advertised(), "PLAIN ANONYMOUS");
    let withdrawn = format!("{named}\nanonymous_login_user = false");
    assert_eq!(from_file(&withdrawn).unwrap().sasl().advertised(), "PLAIN");
}

#[test]
fn numbers_take_units_and_infinity_where_that_makes_sense() {
    let limits = from_file("[limits]\nmax_message_bytes = \"64MiB\"\nconnections = \"infinity\"").unwrap().limits;
    assert_eq!((limits.max_message_bytes, limits.connections), (64 << 20, 0));
    let limits = from_variables(&[("LEVERET_LIMITS__CHANNEL_MAX", "0")]).unwrap().limits;
    assert_eq!(limits.channel_max, 0);
    for (text, watermark) in [
        ("0.25", crate::limits::MemoryHighWatermark::Share(0.25)),
        ("\"2GiB\"", crate::limits::MemoryHighWatermark::Bytes(2 << 30)),
        ("1", crate::limits::MemoryHighWatermark::Share(1.0)),
    ] {
        let config = from_file(&format!("[limits]\nmemory_high_watermark = {text}")).unwrap();
        assert_eq!(config.limits.memory_high_watermark, watermark);
    }
}

#[test]
fn the_disk_limit_takes_bytes_or_a_multiple_of_the_memory() {
    use crate::limits::DiskFreeLimit::{Bytes, OfMemory};
    for (text, limit) in [("1.0", OfMemory(1.0)), ("\"2GB\"", Bytes(2_000_000_000)), ("50000000", Bytes(50_000_000))] {
        let config = from_file(&format!("[limits]\ndisk_free_limit = {text}")).unwrap();
        assert_eq!(config.limits.disk_free_limit, limit);
        assert_eq!(from_file(&config.to_toml().replace("(hidden)", "x")).unwrap().limits, config.limits);
        let variable = text.trim_matches('"');
        let config = from_variables(&[("LEVERET_LIMITS__DISK_FREE_LIMIT", variable)]).unwrap();
        assert_eq!(config.limits.disk_free_limit, limit);
    }
}

#[test]
fn messages_leave_memory_from_a_share_of_the_watermark() {
    for (text, share) in [("0.75", 0.75), ("1", 1.0), ("\"0.25\"", 0.25)] {
        let config =
            from_file(&format!("[limits]\nmemory_paging_share = {text}\nmemory_high_watermark = 0.5")).unwrap();
        assert_eq!(config.limits.memory_paging_share, share);
        assert_eq!(Marks::configured(&config.limits).memory_bytes(1000), ((500.0 * share) as u64, 500));
    }
    let config = from_variables(&[("LEVERET_LIMITS__MEMORY_PAGING_SHARE", "0.9")]).unwrap();
    assert_eq!(config.limits.memory_paging_share, 0.9);
}

#[test]
fn syncing_is_a_policy() {
    let interval = |ms| SyncPolicy::Interval(Duration::from_millis(ms));
    for (file, policy) in [
        ("", SyncPolicy::Always),
        ("storage.sync = \"always\"", SyncPolicy::Always),
        ("storage.sync = \"interval\"", interval(200)),
        ("[storage]\nsync = \"interval\"\nsync_interval_ms = 1000", interval(1000)),
        ("storage.sync = \"never\"", SyncPolicy::Never),
    ] {
        assert_eq!(from_file(file).unwrap().storage.policy(), policy, "{file:?}");
    }
    let variables = [("LEVERET_STORAGE__SYNC", "interval"), ("LEVERET_STORAGE__SYNC_INTERVAL_MS", "50")];
    assert_eq!(from_variables(&variables).unwrap().storage.policy(), interval(50));
}

#[test]
fn an_empty_variable_is_not_set_and_none_is_the_empty_list() {
    let config = from_variables(&[("LEVERET_LOOPBACK_USERS", "")]).unwrap();
    assert_eq!(config.loopback_users, ["guest"]);
    let config = from_variables(&[("LEVERET_LOOPBACK_USERS", "none")]).unwrap();
    assert!(config.loopback_users.is_empty());
}

#[test]
fn listeners_have_several_forms() {
    let config = from_file("listeners = [5672, \":1\", \"*:2\", \"[::1]:3\", \"localhost:0\"]").unwrap();
    assert_eq!(config.listeners, ["[::]:5672", "[::]:1", "[::]:2", "[::1]:3", "localhost:0"]);
}

#[test]
fn every_problem_of_a_file_is_told_with_its_line() {
    let file = "\n[limits]\nchanel_max = 1\nheartbeat_s = 65536\n\n[server]\nversion = \"4.2\"\n[other]\nx = 1\n";
    assert_eq!(
        from_file(file).unwrap_err().lines().collect::<Vec<_>>(),
        [
            "leveret.toml line 3: unknown key `limits.chanel_max`",
            "leveret.toml line 4: limits.heartbeat_s = 65536: expected a whole number from 1 to 65535, or 0 for none",
            "leveret.toml line 7: server.version = \"4.2\": expected three numbers, such as \"3.13.7\"",
            "leveret.toml line 8: unknown key `other`",
        ]
    );
}

#[test]
fn bad_values_in_a_file() {
    let cases = [
        ("listeners = [\"localhost\"]", "line 1: listeners = \"localhost\": expected HOST:PORT each"),
        ("listeners = []", "line 1: listeners = a list: expected at least one item"),
        ("listeners = [\n\"a:1\",\n\"a:65536\"]", "line 3: listeners = \"a:65536\": expected HOST:PORT each"),
        ("listeners = [\"::1:5672\"]", "expected HOST:PORT each"),
        ("data_dir = 5", "line 1: data_dir = 5: expected text that is not empty"),
        ("vhosts = [\"\"]", "vhosts = \"\": expected names of 1 to 255 bytes"),
        ("auth_mechanisms = [\"EXTERNAL\"]", "expected some of PLAIN, AMQPLAIN, ANONYMOUS"),
        ("default_user = true", "default_user = true: expected a name of 1 to 255 bytes, or false"),
        ("log = 1", "line 1: unknown key `log`"),
        ("log.format = \"xml\"", "log.format = \"xml\": expected one of plain, json"),
        (
            "[limits]\nframe_max_bytes = 4095",
            "line 2: limits.frame_max_bytes = 4095: expected a whole number from 4096",
        ),
        ("[limits]\nmax_message_bytes = \"1GiB\"", "= \"1GiB\": expected a whole number from 1 to 536870912"),
        ("[limits]\nconnections = -1", "limits.connections = -1: expected a whole number"),
        ("[limits]\ntable_depth = \"infinity\"", "expected a whole number from 4 to 255"),
        ("[limits]\nmemory_high_watermark = 1.5", "= 1.5: expected a share from 0.0 to 1.0"),
        ("storage.sync = \"sometimes\"", "expected one of always, interval, never"),
        ("storage.sync_interval_ms = 0", "line 1: storage.sync_interval_ms = 0: expected a whole number from 1 to"),
        ("[limits]\nmemory_paging_share = 2", "memory_paging_share = 2: expected a share from 0.0 to 1.0"),
        ("[limits]\ndisk_free_limit = 2", "disk_free_limit = 2: expected bytes such as \"50MB\" (at least 1 MB"),
        ("[limits]\nunwritten_bytes = 5", "unwritten_bytes = 5: expected a whole number from 1048576"),
        ("[limits]\nchannel_max = {}", "limits.channel_max = a table: expected a whole number"),
        ("[limits]\nwrite_buffer_high_bytes = \"64KiB\"", "has to be below write_buffer_high_bytes = 65536"),
        ("a = \n", "line 1: not TOML"),
        ("heartbeat = 5", "unknown key `heartbeat`; is `limits.heartbeat_s` meant?"),
    ];
    for (file, expected) in cases {
        let error = from_file(file).unwrap_err();
        assert!(error.contains(expected), "{file:?} gives {error:?}");
    }
}

#[test]
fn bad_users_are_told_without_their_passwords() {
    let hash = "password_hash = \"kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR\"";
    let hidden = "secret-that-must-not-show";
    let cases = [
        (format!("[[users]]\npassword = \"{hidden}\""), "line 1: users: expected each user to have a name"),
        (format!("[[users]]\nname = \"a\"\npassword = \"{hidden}\"\n{hash}"), "either a password or a password_hash"),
        (format!("[[users]]\nname = \"a\"\npasswort = \"{hidden}\""), "line 3: unknown key `users.passwort`"),
        (
            format!("[[users]]\nname = \"a\"\npassword_hash = \"{hidden}\""),
            "line 3: users.password_hash: expected base64",
        ),
        (format!("users = [\"a:{hidden}\"]"), "users: expected tables [[users]]"),
    ];
    for (file, expected) in cases {
        let error = from_file(&file).unwrap_err();
        assert!(error.contains(expected) && !error.contains(hidden), "{file:?} gives {error:?}");
    }
    let error = from_variables(&[("LEVERET_USERS", hidden)]).unwrap_err();
    assert!(
        error.contains("environment variable LEVERET_USERS: users: expected") && !error.contains(hidden),
        "{error}"
    );
    assert!(from_file(&format!("[[users]]\nname = \"a\"\n{hash}")).is_ok());
}

#[test]
fn bad_variables_and_flags_are_named() {
    let cases = [
        (
            ("LEVERET_LIMITS__CHANNEL_MAX", "many"),
            "environment variable LEVERET_LIMITS__CHANNEL_MAX: limits.channel_max = \"many\": expected a whole number from 1 to 65535, or 0 for none",
        ),
        (
            ("LEVERET_CHANNEL_MAX", "5"),
            "environment variable LEVERET_CHANNEL_MAX: unknown key `channel_max`; is `limits.channel_max` meant?",
        ),
        (("LEVERET_PORT", "5673"), "environment variable LEVERET_PORT: unknown key `port`"),
    ];
    for (variable, expected) in cases {
        assert_eq!(from_variables(&[variable]).unwrap_err(), expected);
    }
    let flags = Flags { listeners: vec!["nowhere".into()], ..Flags::default() };
    assert!(load("", &[], flags).unwrap_err().starts_with("--listen: listeners = \"nowhere\": expected HOST:PORT"));
    let flags = Flags { users: vec!["alice".into()], ..Flags::default() };
    assert_eq!(load("", &[], flags).unwrap_err(), "--user: expected NAME:PASSWORD");
}

#[test]
fn a_bad_value_is_an_error_even_where_a_later_source_replaces_it() {
    assert!(load("log.level = \"loud\"", &[("LEVERET_LOG__LEVEL", "info")], Flags::default()).is_err());
}

#[test]
fn variables_of_a_service_named_leveret_are_not_settings() {
    let variables = [
        ("LEVERET_SERVICE_HOST", "10.0.0.1"),
        ("LEVERET_SERVICE_PORT_AMQP", "5672"),
        ("LEVERET_PORT", "tcp://10.0.0.1:5672"),
        ("LEVERET_PORT_5672_TCP_ADDR", "10.0.0.1"),
        ("LEVERET_AMQP_SERVICE_HOST", "10.0.0.1"),
        ("LEVERET_AMQP_PORT_5672_TCP", "tcp://10.0.0.1:5672"),
    ];
    assert_eq!(from_variables(&variables).unwrap(), Config::default());
}

#[test]
fn the_environment_can_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("named.toml");
    fs::write(&path, "vhosts = [\"named\"]").unwrap();
    let variables = HashMap::from([("LEVERET_CONFIG".to_owned(), path.to_str().unwrap().to_owned())]);
    let environment = sources::environment().source(Some(variables));
    let config = Config::load_with(None, environment, Flags::default()).unwrap();
    assert_eq!(config.vhosts, ["named"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let environment = sources::environment().source(Some(HashMap::new()));
    let error = Config::load_with(Some(&PathBuf::from("absent.toml")), environment, Flags::default()).unwrap_err();
    assert!(error.to_string().starts_with("absent.toml: cannot be read: "), "{error}");
}

#[test]
fn the_printed_configuration_hides_passwords_and_can_be_loaded_again() {
    let file = "default_user = false\n[limits]\nmemory_high_watermark = \"2GiB\"\n[[users]]\nname = \"a\"\npassword = \"pssst\"";
    let config = from_file(file).unwrap();
    let printed = config.to_toml();
    assert!(!printed.contains("pssst") && !format!("{config:?}").contains("pssst"), "{printed}");
    assert!(from_file(&printed).unwrap_err().contains("expected the password itself"));
    let again = from_file(&printed.replace("(hidden)", "known")).unwrap();
    assert_eq!(again.limits, config.limits);
    assert_eq!((again.default_user, again.listeners), (None, config.listeners));
}

#[test]
fn every_key_is_documented() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md")).unwrap();
    for key in keys::names() {
        assert!(page.contains(&format!("`{key}`")), "docs/configuration.md does not have `{key}`");
    }
}

#[test]
fn every_default_is_allowed_and_every_key_exists() {
    let printed = Config::default().to_toml();
    assert_eq!(from_file(&printed.replace("(hidden)", "guest")).unwrap(), Config::default());
}
