//! Precedence, refusals and the printed form of the configuration.

use std::path::Path;

use super::*;

fn file(directory: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("x.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn variable(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn refusal(sources: &Sources) -> String {
    load(sources).unwrap_err().user_message()
}

#[test]
fn defaults_are_valid_and_complete() {
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!(loaded.config.server.data_dir, Path::new("./nunatak-data"));
    assert_eq!(loaded.config.server.http.to_string(), "127.0.0.1:8080");
    assert_eq!(loaded.config.server.flight.to_string(), "127.0.0.1:32010");
    assert_eq!((loaded.config.server.default_catalog.as_str(), loaded.config.server.default_schema.as_str()), ("lake", "default"));
    assert!(loaded.config.execution.memory_bytes_max > 64 << 20);
    assert_eq!(loaded.config.log, Log { level: "info".to_owned(), format: LogFormat::Text });
}

#[test]
fn listed_keys_are_those_of_the_tree() {
    let values = figment::value::Value::serialize(Raw::default()).unwrap().into_dict().unwrap();
    for (section, keys) in SECTIONS {
        let mut listed: Vec<_> = keys.iter().map(|key| key.name).collect();
        listed.sort_unstable();
        let fields: Vec<_> = values[*section].as_dict().unwrap().keys().map(String::as_str).collect();
        assert_eq!(listed, fields, "{section}");
    }
    assert_eq!(values.len(), SECTIONS.len());
}

#[test]
fn later_sources_win() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[server]\nhttp = '127.0.0.1:1'\nflight = '127.0.0.1:2'\n[execution]\nslots = 3\nmemory = '1GiB'\n[log]\nlevel = 'warn'\n";
    let mut sources = Sources { file: Some(file(&directory, text)), ..Sources::default() };
    assert_eq!(load(&sources).unwrap().config.execution.slots, 3);

    sources.environment = vec![
        variable("NUNATAK_SERVER__HTTP", "127.0.0.1:11"),
        variable("NUNATAK_EXECUTION__SLOTS", "5"),
        variable("NUNATAK_CACHE__LOCAL_FILES", "true"),
        variable("NUNATAK_LOG__LEVEL", "debug"),
        variable("NUNATAK_LOG", "error"),
        variable("NUNATAK_PORT", "tcp://10.0.0.1:8080"),
        variable("HOME", "/root"),
    ];
    sources.flags = vec![Flag { flag: "--slots", key: "execution.slots", value: "7".to_owned() }];
    let loaded = load(&sources).unwrap();
    let config = &loaded.config;
    assert_eq!((config.server.http.port(), config.server.flight.port()), (11, 2));
    assert_eq!((config.execution.slots, config.execution.memory_bytes_max), (7, 1 << 30));
    assert_eq!(config.cache, Cache { memory_bytes_max: 256 << 20, disk_bytes_max: 0, local_files: true });
    assert_eq!(config.log.level, "debug");

    let printed = loaded.to_toml();
    for line in [
        "default_catalog = \"lake\" # default".to_owned(),
        format!("flight = \"127.0.0.1:2\" # config file {}", sources.file.as_ref().unwrap().display()),
        "http = \"127.0.0.1:11\" # environment variable NUNATAK_SERVER__HTTP".to_owned(),
        "slots = \"7\" # flag --slots, here 7".to_owned(),
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is not in\n{printed}");
    }

    // What was printed is a file that gives the same configuration.
    let again = load(&Sources { file: Some(file(&directory, &printed)), ..Sources::default() }).unwrap();
    assert_eq!(&again.config, config);
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_one() {
    let directory = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("[server]\nhtpp = '127.0.0.1:1'", "unknown key 'server.htpp', did you mean 'server.http'?"),
        ("http = '127.0.0.1:1'", "unknown key 'http', did you mean 'server.http'?"),
        ("[sever]\nhttp = '127.0.0.1:1'", "unknown key 'sever.http', did you mean 'server.http'?"),
        ("[colour]\nblue = 1", "unknown key 'colour.blue', 'nunatak config' lists all keys"),
        ("server = 5", "'server' is a section, not a value"),
    ] {
        let path = file(&directory, text);
        let message = refusal(&Sources { file: Some(path.clone()), ..Sources::default() });
        assert_eq!(message, format!("config file {}: {expected}", path.display()));
    }
    let sources = Sources { environment: vec![variable("NUNATAK_EXECUTION__MEMROY", "1GiB")], ..Sources::default() };
    assert_eq!(refusal(&sources), "environment variable NUNATAK_EXECUTION__MEMROY: unknown key 'execution.memroy', did you mean 'execution.memory'?");
}

#[test]
fn wrong_values_name_their_source() {
    for (key, value, expected) in [
        ("server.http", "8080", "flag --x: server.http: '8080' is not an address such as 127.0.0.1:8080"),
        ("server.flight", "127.0.0.1:8080", "flag --x: server.flight: 127.0.0.1:8080 is the address of server.http too"),
        ("server.default_schema", "a b", "flag --x: server.default_schema: 'a b' is not a name of lower-case letters, digits and '_'"),
        (
            "execution.memory",
            "4GB9",
            "flag --x: execution.memory: '4GB9' is not a size such as 4GiB, 512MiB or 64KB, or a part of the machine's memory such as 70%",
        ),
        ("execution.memory", "1MiB", "flag --x: execution.memory: 1MiB is less than the minimum of 64MiB"),
        ("execution.listing_wait", "0s", "flag --x: execution.listing_wait: no catalog answers within no time"),
        ("execution.slots", "0", "flag --x: execution.slots: 0 is not between 1 and 1024"),
        ("cache.memory", "1MiB", "flag --x: cache.memory: 1MiB is less than the minimum of 64MiB, and not 0B for none"),
        ("cache.disk", "much", "flag --x: cache.disk: 'much' is not a size such as 4GiB, 512MiB or 64KB"),
        ("cache.local_files", "yes", "flag --x: cache.local_files: 'yes' is not 'true', nor 'false'"),
        ("log.format", "xml", "flag --x: log.format: 'xml' is not one of text, json"),
        ("log.level", "a=b=c", "flag --x: log.level: 'a=b=c' is not a log level such as info, or a list such as info,nunatak_engine=debug"),
    ] {
        let sources = Sources { flags: vec![Flag { flag: "--x", key, value: value.to_owned() }], ..Sources::default() };
        assert_eq!(refusal(&sources), expected);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "[server]\nhttp = \n");
    let message = refusal(&Sources { file: Some(path.clone()), ..Sources::default() });
    assert!(message.starts_with(&format!("config file {}: line 2: ", path.display())) && !message.contains('\n'), "{message}");

    let sources = Sources { file: Some(directory.path().join("none.toml")), ..Sources::default() };
    assert!(refusal(&sources).ends_with("none.toml: does not exist"));
}

#[test]
fn catalogs_have_sections() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("secret"), "s3cr3t\n").unwrap();
    let text = format!(
        "[catalog.prod]\ntype = 'hadoop'\nwarehouse = 's3://lake/x'\ns3.endpoint = 'http://e'\ns3.path-style-access = true\n\
         s3.secret-access-key = '${{FILE:{}/secret}}'\n[catalog.shared]\ntype = 'sql'\nuri = 'sqlite:///a.sqlite'\nwarehouse = '/w'\n",
        directory.path().display()
    );
    let environment = vec![variable("NUNATAK_CATALOG__PROD__S3__ACCESS_KEY_ID", "k3y")];
    let loaded = load(&Sources { file: Some(file(&directory, &text)), environment, ..Sources::default() }).unwrap();
    let [prod, shared] = &loaded.config.catalogs[..] else { panic!("{:?}", loaded.config.catalogs) };
    assert_eq!((prod.name.as_str(), prod.kind, prod.warehouse.as_deref()), ("prod", CatalogKind::Hadoop, Some("s3://lake/x")));
    let storage: Vec<_> = prod.storage.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [("s3.access-key-id", "k3y"), ("s3.endpoint", "http://e"), ("s3.path-style-access", "true"), ("s3.secret-access-key", "s3cr3t")];
    assert_eq!(storage, expected);
    assert_eq!((shared.kind, shared.uri.as_deref()), (CatalogKind::Sql, Some("sqlite:///a.sqlite")));

    let printed = loaded.to_toml();
    assert!(!printed.contains("s3cr3t") && !printed.contains("k3y") && !format!("{loaded:?}").contains("s3cr3t"), "{printed}");
    let text = "[catalog.r]\ntype = 'rest'\nuri = 'http://h'\ncredential = 'id:s3cr3t'\nheader.X-Api = 's3cr3t'\nscope = 'all'\n";
    let loaded = load(&Sources { file: Some(file(&directory, text)), ..Sources::default() }).unwrap();
    let [rest] = &loaded.config.catalogs[..] else { panic!("{:?}", loaded.config.catalogs) };
    assert_eq!((rest.kind, rest.warehouse.as_deref(), rest.storage["header.X-Api"].as_str()), (CatalogKind::Rest, None, "s3cr3t"));
    assert!(!loaded.to_toml().contains("s3cr3t") && !format!("{loaded:?}").contains("s3cr3t") && loaded.to_toml().contains("scope = \"all\""));
    assert!(printed.contains("[catalog.prod]\n") && printed.contains("s3.endpoint = \"http://e\" # config file"), "{printed}");
}

#[test]
fn passwords_in_addresses_are_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("secret"), "s3@cr3t\n").unwrap();
    let text = format!(
        "[catalog.pg]\ntype = 'sql'\nuri = 'postgresql://ada:${{FILE:{}/secret}}@h/lake?sslmode=require&password=s3@cr3t'\nwarehouse = '/w'\n\
         [catalog.java]\ntype = 'sql'\nuri = 'jdbc:postgresql://h/lake'\nwarehouse = '/w'\njdbc.password = 's3@cr3t'\n",
        directory.path().display()
    );
    let loaded = load(&Sources { file: Some(file(&directory, &text)), ..Sources::default() }).unwrap();
    let [java, pg] = &loaded.config.catalogs[..] else { panic!("{:?}", loaded.config.catalogs) };
    assert_eq!((java.uri.as_deref(), java.storage["jdbc.password"].as_str()), (Some("jdbc:postgresql://h/lake"), "s3@cr3t"));
    assert_eq!(pg.uri.as_deref(), Some("postgresql://ada:s3%40cr3t@h/lake?sslmode=require&password=s3@cr3t"));
    let (printed, debugged) = (loaded.to_toml(), format!("{loaded:?}"));
    assert!(printed.contains("postgresql://ada:***@h/lake?sslmode=require&password=***") && debugged.contains("ada:***@h/lake"), "{printed}");
    assert!(!printed.contains("cr3t") && !debugged.contains("cr3t"), "{printed}{debugged}");
}

#[test]
fn mistyped_addresses_do_not_show_passwords_either() {
    for (written, seen) in [
        ("postgresql//ada:s3cr3t@h/lake", "***@h/lake"),
        ("postgresql:ada:s3cr3t@h/lake", "***@h/lake"),
        ("host=h Password=s3cr3t 'w", "host=h Password=***"),
        ("ada:s3cr3t@h/x", "***@h/x"),
        ("ftp://ada:s3cr3t@h/x", "ftp://ada:***@h/x"),
        ("thrift://ada:s3cr3t@h:x", "thrift://ada:***@h:x"),
        ("postgresql://ada:s3?cr3t@h/lake", "postgresql://ada:***@h/lake"),
        ("s3://key:s3/cr3t@lake/x", "s3://key:***@lake/x"),
        ("abfss://lake@account.dfs.core.windows.net/x", "abfss://lake@account.dfs.core.windows.net/x"),
        ("postgresql://h:5432/lake?options=a", "postgresql://h:5432/lake?options=a"),
        ("hive/_HOST@EXAMPLE.ORG", "hive/_HOST@EXAMPLE.ORG"),
    ] {
        assert_eq!(without_password(written), seen);
    }
}

#[test]
fn keys_in_quotes_are_of_the_file_too() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[catalog.a]\ntype = 'hadoop'\nwarehouse = '/w'\n\"s3.secret-access-key\" = 's3cr3t'\ns3.region = 'north'\n";
    let printed = load(&Sources { file: Some(file(&directory, text)), ..Sources::default() }).unwrap().to_toml();
    assert!(
        printed.contains("s3.secret-access-key = \"***\" # config file ") && printed.contains("s3.region = \"north\" # config file "),
        "{printed}"
    );
}

#[test]
fn who_may_use_the_rest_server() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("tokens"), "first-s3cr3t-token\n second-s3cr3t-token\n\n").unwrap();
    let reference = format!("${{FILE:{}/tokens}}", directory.path().display());
    let text =
        format!("[rest_server]\ntokens = '{reference}'\n[catalog.a]\ntype = 'hadoop'\nwarehouse = '/w'\nrest-server.vend-credentials = true\n");
    let loaded = load(&Sources { file: Some(file(&directory, &text)), ..Sources::default() }).unwrap();
    assert_eq!(loaded.config.rest_server.tokens, ["first-s3cr3t-token", "second-s3cr3t-token"]);
    assert!(!format!("{loaded:?}").contains("s3cr3t") && loaded.to_toml().contains(&reference));
    let [catalog] = &loaded.config.catalogs[..] else { panic!("{:?}", loaded.config.catalogs) };
    assert_eq!((catalog.served, catalog.storage.len()), (Served { vend_credentials: true, ..Served::default() }, 0));

    let text = "[rest_server]\ntokens = 'a-s3cr3t-token-of-text'";
    assert!(!load(&Sources { file: Some(file(&directory, text)), ..Sources::default() }).unwrap().to_toml().contains("s3cr3t"));
    for (tokens, why) in
        [(",", "there is no token in it"), ("short", "token 1 is shorter than 16 characters"), ("${ENV:NO_SUCH_VARIABLE}", "there is no")]
    {
        let refused = refusal(&Sources { file: Some(file(&directory, &format!("[rest_server]\ntokens = '{tokens}'"))), ..Sources::default() });
        assert!(refused.contains("rest_server.tokens: ") && refused.contains(why), "{refused}");
    }
}

#[test]
fn wrong_catalogs_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (text, why) in [
        ("[catalog.a]\nwarehouse = '/w'", "catalog.a.type: it is missing"),
        ("[catalog.a]\ntype = 'glue'\nwarehouse = '/w'", "catalog.a.type: 'glue' is not one of"),
        ("[catalog.a]\ntype = 'hadoop'", "catalog.a.warehouse: it is missing"),
        ("[catalog.a]\ntyp = 'hadoop'", "did you mean 'catalog.a.type'?"),
        ("[catalog.A]\ntype = 'hadoop'\nwarehouse = '/w'", "'A' is not a name of lower-case letters"),
        ("[catalog.system]\ntype = 'hadoop'\nwarehouse = '/w'", "catalog.system: no catalog can be called 'system'"),
        ("[catalog]\na = 'b'", "'catalog.a' is a section, not a value"),
        ("[catalog.a]\ntype = 'sql'\nuri = 'mysql://x'\nwarehouse = '/w'", "catalog.a.uri: 'mysql://x' is not the address"),
        ("[catalog.a]\ntype = 'rest'", "catalog.a.uri: it is missing; the address of a server"),
        (
            "[catalog.a]\ntype = 'hadoop'\nwarehouse = '/w'\nrest-server.read-only = 'no'",
            "catalog.a.rest-server.read-only: 'no' is not true or false",
        ),
        (
            "[catalog.a]\ntype = 'hadoop'\nwarehouse = '/w'\nrest-server.sign-requests = true",
            "catalog.a.rest-server.sign-requests: requests to S3 are signed",
        ),
        (
            "[catalog.a]\ntype = 'hadoop'\nwarehouse = '/w'\nrest-server.readonly = true",
            "there are rest-server.read-only, rest-server.sign-requests and",
        ),
        ("[catalog.a]\ntype = 'hive'\nwarehouse = '/w'", "catalog.a.uri: it is missing; the address of a metastore"),
        ("[catalog.a]\ntype = 'hadoop'\nwarehouse = '${ENV:NO_SUCH_VARIABLE}'", "there is no environment variable NO_SUCH_VARIABLE"),
    ] {
        let refused = refusal(&Sources { file: Some(file(&directory, text)), ..Sources::default() });
        assert!(refused.contains(why) && refused.contains("config file"), "{text}: {refused}");
    }
}

#[test]
fn a_file_that_is_missing_is_looked_for_again() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("token");
    let text = format!("[catalog.a]\ntype = 'rest'\nuri = 'http://h'\ntoken = '${{FILE:{}}}'", secret.display());
    let loaded = load(&Sources { file: Some(file(&directory, &text)), ..Sources::default() }).unwrap();
    let [catalog] = &loaded.config.catalogs[..] else { panic!("{:?}", loaded.config.catalogs) };
    let error = catalog.resolved().unwrap_err();
    assert_eq!((error.code(), error.retry()), (Code::ConfigurationInvalid, crate::Retry::Query));
    assert!(error.message().starts_with("catalog.a.token: file '") && error.message().contains("cannot be read"), "{error}");
    std::fs::write(&secret, "s3cr3t\n").unwrap();
    let resolved = catalog.resolved().unwrap();
    assert_eq!((resolved.storage["token"].as_str(), resolved.absent.is_none()), ("s3cr3t", true));
    let malformed = file(&directory, "[catalog.a]\ntype = 'rest'\nuri = 'http://h'\ntoken = '${SECRET}'");
    assert!(refusal(&Sources { file: Some(malformed), ..Sources::default() }).contains("is no reference"));
}

#[test]
fn etcd_is_a_list_of_servers_and_its_password_is_not_shown() {
    let flag = |key, value: &str| Flag { flag: "--x", key, value: value.to_owned() };
    assert_eq!(load(&Sources::default()).unwrap().config.etcd, None);
    let flags = vec![
        flag("etcd.endpoints", "http://h1:2379, h2:2379/"),
        flag("etcd.prefix", "/lake/"),
        flag("etcd.user", "engine"),
        flag("etcd.password", "s3cr3t"),
        flag("etcd.start_wait", "2m"),
    ];
    let loaded = load(&Sources { flags, ..Sources::default() }).unwrap();
    let etcd = loaded.config.etcd.as_ref().unwrap();
    assert_eq!(etcd.endpoints, ["http://h1:2379", "http://h2:2379"]);
    assert_eq!((etcd.prefix.as_str(), etcd.server(), etcd.password.as_deref()), ("/lake", "h1:2379", Some("s3cr3t")));
    assert_eq!(etcd.start_wait.as_secs(), 120);
    assert!(!loaded.to_toml().contains("s3cr3t") && !format!("{loaded:?}").contains("s3cr3t"));

    for (key, value, expected) in [
        ("etcd.endpoints", "h1", "etcd.endpoints: 'h1' is not the address of a server such as http://10.0.0.1:2379"),
        ("etcd.endpoints", "http://h1:1,https://h2:1", "etcd.endpoints: some are http:// and some are https://; all must be the same"),
        ("etcd.ca", "/ca.pem", "etcd.ca: there are certificates only for servers at https://, see etcd.endpoints"),
        ("etcd.prefix", "lake", "etcd.prefix: 'lake' does not begin with '/' and a name, such as /nunatak"),
        ("etcd.password", "x", "etcd.user: it is missing; there is etcd.password"),
    ] {
        let flags = vec![flag("etcd.endpoints", "h1:1"), flag(key, value)];
        let refused = refusal(&Sources { flags, ..Sources::default() });
        assert!(refused.ends_with(expected), "{key} = {value}: {refused}");
    }
}

#[test]
fn results_are_spooled_where_it_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[spooling]\nlocation = 's3://spool/results/'\ninline_rows = 5\nttl = '1h'\nretrieval = 'storage'\nsecret = 'a-s3cr3t-of-more-than-32-characters'\n\
                [spooling.storage]\ns3.endpoint = 'http://e'\ns3.secret-access-key = 's3cr3t'\n";
    let environment = vec![variable("NUNATAK_SPOOLING__STORAGE__S3__ACCESS_KEY_ID", "k3y"), variable("NUNATAK_SPOOLING__SEGMENT_MAX", "1MiB")];
    let loaded = load(&Sources { file: Some(file(&directory, text)), environment, ..Sources::default() }).unwrap();
    let spooling = &loaded.config.spooling;
    assert_eq!((&spooling.location, spooling.retrieval), (&SpoolLocation::At("s3://spool/results".to_owned()), Retrieval::Storage));
    assert_eq!((spooling.inline_rows_max, spooling.segment_initial_bytes, spooling.segment_bytes_max), (5, 1 << 20, 1 << 20));
    assert_eq!((spooling.storage["s3.access-key-id"].as_str(), spooling.storage["s3.secret-access-key"].as_str()), ("k3y", "s3cr3t"));
    let printed = loaded.to_toml();
    assert!(printed.contains("[spooling.storage]\n") && printed.contains("s3.endpoint = \"http://e\""), "{printed}");
    assert!(!printed.contains("s3cr3t") && !printed.contains("k3y") && !format!("{loaded:?}").contains("s3cr3t"), "{printed}");
    let mut unnamed = load(&Sources::default()).unwrap().config.spooling;
    unnamed.in_data_dir();
    assert_eq!(unnamed.location, SpoolLocation::DataDir);

    for (text, why) in [
        ("location = 'spool'", "spooling.location: 'spool' is not a place such as"),
        ("location = '/x'\nsecret = 'short'", "spooling.secret: it is shorter than 32 characters"),
        ("ttl = '10ms'", "spooling.ttl: 10ms is less than the minimum of 1s"),
        ("location = 's3://b/x'\nretrieval = 'storage'\nttl = '8d'", "spooling.ttl: 8d is longer than the 7d"),
        ("retrieval = 'storage'", "spooling.retrieval: 'storage' needs a spooling.location"),
        ("retrieval = 'worker'", "spooling.retrieval: 'worker' is not one of"),
        ("segment_max = '1GiB'", "spooling.segment_max: 1GiB is not between"),
        ("storage.s3.region = 'x'", "spooling.location: it is missing; there are properties"),
        ("locaton = '/x'", "did you mean 'spooling.location'?"),
    ] {
        let refused = refusal(&Sources { file: Some(file(&directory, &format!("[spooling]\n{text}\n"))), ..Sources::default() });
        assert!(refused.contains(why), "{text}: {refused}");
    }
}
