//! Users whom others vouch for, on a running cluster: an OpenID Connect issuer and webhooks by files and flags, and a
//! front proxy. And what is said of files with a fault.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use sampan_testkit::program::{self, refused, run, tree};
use sampan_testkit::{Cluster, Helper, eventually};

/// Where the others are; the network is the cluster's own.
const PORT: &str = "9443";

const AUTHENTICATION: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: 'https://localhost:9443', audiences: [sampan], certificateAuthority: CA}
  claimMappings:
    username: {expression: 'claims.sub + \"@corp\"'}
    groups: {claim: team, prefix: 'corp:'}
  userValidationRules: [{expression: \"!user.username.startsWith('system:')\", message: reserved}]
anonymous: {enabled: true, conditions: [{path: /livez}]}
";

const AUTHORIZATION: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- type: Webhook
  name: hook
  webhook:
    timeout: 3s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: DIR/authz.yaml}
    matchConditions: [{expression: \"'hooked' in request.groups\"}]
- {type: Node, name: node}
- {type: RBAC, name: rbac}
";

const KUBECONFIG: &str = "
clusters: [{name: c, cluster: {server: 'https://localhost:9443/PATH', certificate-authority: DIR/ca.crt}}]
users: [{name: u, user: {}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
";

/// Starts the others and writes the files that lead to them.
fn start_others(cluster: &Cluster, dir: &Path) -> Result<Helper> {
    let program = tree().join("crates/testkit/tests/identity/stand_in.py");
    let others = Helper::start(cluster.command("/usr/bin/python3").arg(program).arg(dir).arg(PORT), Stdio::inherit())?;
    eventually("the others are ready", || Ok(dir.join("ready").exists()))?;
    let shown = dir.display().to_string();
    let ca = serde_json::Value::from(fs::read_to_string(dir.join("ca.crt"))?).to_string();
    fs::write(dir.join("authentication.yaml"), AUTHENTICATION.replace("CA}", &format!("{ca}}}")))?;
    fs::write(dir.join("authorization.yaml"), AUTHORIZATION.replace("DIR", &shown))?;
    for path in ["authn", "authz"] {
        fs::write(dir.join(format!("{path}.yaml")), KUBECONFIG.replace("DIR", &shown).replace("PATH", path))?;
    }
    Ok(others)
}

/// kubectl as whoever holds `token`, and nobody else.
fn kubectl(cluster: &Cluster, token: &str, args: &str) -> Command {
    let mut command = cluster.command(program::kubectl());
    command.env("KUBECONFIG", "/dev/null").args(["--server", "https://127.0.0.1:6443", "--token", token]);
    command.arg("--certificate-authority").arg(cluster.data_dir().join("pki/ca.crt"));
    command.args(args.split_whitespace());
    command
}

#[test]
fn others_vouch_for_users_and_say_what_they_may() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let flag = |flag: &str, file: &str| [flag.to_owned(), dir.path().join(file).display().to_string()];
    let flags = [
        flag("--authentication-config", "authentication.yaml"),
        flag("--authentication-token-webhook-config-file", "authn.yaml"),
        flag("--authorization-config", "authorization.yaml"),
    ];
    let cluster = Cluster::prepare(&flags.as_flattened().iter().map(String::as_str).collect::<Vec<_>>())?;
    let _others = start_others(&cluster, dir.path())?;
    cluster.up()?;

    let token = fs::read_to_string(dir.path().join("token"))?;
    let ann = |args: &str| kubectl(&cluster, &token, args);
    let wendy = |args: &str| kubectl(&cluster, "of-the-webhook", args);
    const WHO: &str = "auth whoami -o jsonpath={.status.userInfo.username}{.status.userInfo.groups}";
    ensure!(run(&mut ann(WHO))? == r#"ann@corp["corp:crew","system:authenticated"]"#, "{}", run(&mut ann(WHO))?);
    ensure!(run(&mut wendy(WHO))? == r#"wendy["hooked","system:authenticated"]"#, "{}", run(&mut wendy(WHO))?);
    let said = refused(&mut kubectl(&cluster, "of-nobody", WHO))?;
    ensure!(said.contains("Unauthorized"), "{said}");

    run(&mut wendy("get configmaps"))?;
    let said = refused(&mut wendy("get secrets"))?;
    ensure!(said.contains("Forbidden") && said.contains("not for the hooked"), "{said}");
    refused(&mut ann("get configmaps"))?;
    cluster.kubectl("create rolebinding crew --clusterrole=view --group=corp:crew")?;
    run(&mut ann("get configmaps"))?;

    let get = |path: &str| {
        let url = format!("https://127.0.0.1:6443{path}");
        run(cluster.command("curl").args(["-sk", "-o", "/dev/null", "-w", "%{http_code}", &url]))
    };
    ensure!(get("/livez")? == "200" && get("/readyz")? == "401", "anonymous users may ask for /livez alone");
    Ok(())
}

#[test]
fn a_front_proxy_says_who_is_there() -> Result<()> {
    let cluster = Cluster::start(&[])?;
    let who = |certificate: &str| {
        let pki = cluster.data_dir().join("pki");
        let mut curl = cluster.command("curl");
        curl.arg("-s").arg("--cacert").arg(pki.join("ca.crt"));
        curl.arg("--cert").arg(pki.join(format!("{certificate}.crt")));
        curl.arg("--key").arg(pki.join(format!("{certificate}.key")));
        curl.args(["-H", "X-Remote-User: ann", "-H", "X-Remote-Group: crew", "-H", "Content-Type: application/json"]);
        curl.args(["-d", "{}", "https://127.0.0.1:6443/apis/authentication.k8s.io/v1/selfsubjectreviews"]);
        let answer: serde_json::Value = serde_json::from_str(&run(&mut curl)?)?;
        Ok::<_, anyhow::Error>(answer["status"]["userInfo"].clone())
    };
    let ann = who("front-proxy-client")?;
    ensure!(ann["username"] == "ann" && ann["groups"] == serde_json::json!(["crew", "system:authenticated"]), "{ann}");
    let admin = who("admin")?;
    ensure!(admin["username"] == "kubernetes-admin", "the headers mean nothing from a user: {admin}");
    Ok(())
}

#[test]
fn a_file_with_a_fault_is_refused_by_its_field() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = Cluster::prepare(&[])?;
    let ca = "{url: 'https://localhost:9443', audiences: [sampan], certificateAuthority: CA}";
    let authentication = AUTHENTICATION.replace(ca, "{url: 'https://localhost:9443', audiences: [sampan]}");
    for (flag, text, told) in [
        ("authentication-config", authentication.replace("https:", "http:"), "jwt[0].issuer.url"),
        ("authentication-config", authentication.replace("[sampan]", "[]"), "jwt[0].issuer.audiences"),
        (
            "authentication-config",
            authentication.replace("claims.sub", "claims."),
            "jwt[0].claimMappings.username.expression",
        ),
        ("authentication-config", authentication.replace("jwt:", "jvt:"), "jvt"),
        ("authorization-config", AUTHORIZATION.replace("type: Webhook", "type: ABAC"), "authorizers[0].type"),
        ("authorization-config", AUTHORIZATION.replace("3s", "3h"), "authorizers[0].webhook.timeout"),
        ("authorization-config", AUTHORIZATION.to_owned(), "authorizers[0].webhook.connectionInfo.kubeConfigFile"),
        ("authentication-token-webhook-config-file", "current-context: nowhere".to_owned(), "nowhere"),
        ("requestheader-client-ca-file", "no certificate".to_owned(), "there is no certificate in it"),
    ] {
        let file = dir.path().join("file.yaml");
        fs::write(&file, &text)?;
        let mut up = cluster.sampan("up")?;
        let said = refused(up.arg(format!("--{flag}")).arg(&file))?;
        ensure!(said.contains(flag) && said.contains(told), "{flag} {text}: {said}");
    }
    Ok(())
}
