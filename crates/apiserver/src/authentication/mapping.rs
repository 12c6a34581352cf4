//! What the claims of a token make of a user. Pure.

use std::collections::{BTreeMap, BTreeSet};

use sampan_api::field::{Error, Path};
use sampan_auth::Identity;
use sampan_cel::{Bindings, Budget, Env, Program, Type, Value as Cel};
use serde_json::{Value, json};

use super::config::{Jwt, Mapping};

/// A compiled mapping of one issuer.
pub(super) struct Mapper {
    username: Source,
    groups: Option<Source>,
    uid: Option<Source>,
    extra: Vec<(String, Program)>,
    required: Vec<(String, String)>,
    claim_rules: Vec<Rule>,
    user_rules: Vec<Rule>,
}

/// Where a part of the user comes from.
enum Source {
    Claim { name: String, prefix: String },
    Expression(Program),
}

/// An expression that must be true.
struct Rule {
    source: String,
    program: Program,
    message: String,
}

/// Whether a claim must say what stands before its value.
#[derive(Clone, Copy, PartialEq)]
enum Prefix {
    Required,
    None,
}

impl Mapper {
    /// Compiles what the configuration says at `path`.
    pub(super) fn compile(jwt: &Jwt, path: &Path) -> Result<Self, Vec<Error>> {
        let mut faults = Vec::new();
        let claims = Env::new().variable("claims", Type::Dyn);
        let user = Env::new().variable("user", Type::Dyn);
        let mappings = path.child("claimMappings");
        let mut source = |name: &str, mapping: &Mapping, prefix: Prefix| {
            source(mapping, &mappings.child(name), prefix, &claims).map_err(|fault| faults.push(fault)).ok().flatten()
        };
        let username = source("username", &jwt.claim_mappings.username, Prefix::Required);
        let groups = source("groups", &jwt.claim_mappings.groups, Prefix::Required);
        let uid = source("uid", &jwt.claim_mappings.uid, Prefix::None);
        if username.is_none() && faults.is_empty() {
            faults.push(Error::required(&mappings.child("username"), "claim or expression is required"));
        }
        let extra = extra(jwt, &mappings.child("extra"), &claims, &mut faults);
        let (mut required, mut claim_rules, mut user_rules) = (Vec::new(), Vec::new(), Vec::new());
        let rules = path.child("claimValidationRules");
        for (index, rule) in jwt.claim_validation_rules.iter().enumerate() {
            let path = rules.index(index);
            match (rule.claim.is_empty(), rule.expression.is_empty()) {
                (false, true) => required.push((rule.claim.clone(), rule.required_value.clone())),
                (true, false) => match self::rule(&claims, (&rule.expression, &rule.message), &path) {
                    Ok(rule) => claim_rules.push(rule),
                    Err(fault) => faults.push(fault),
                },
                (true, true) => faults.push(Error::required(&path, "claim or expression is required")),
                (false, false) => {
                    faults.push(Error::invalid(&path, rule.claim.clone(), "claim and expression can't both be set"));
                }
            }
        }
        let rules = path.child("userValidationRules");
        for (index, rule) in jwt.user_validation_rules.iter().enumerate() {
            match self::rule(&user, (&rule.expression, &rule.message), &rules.index(index)) {
                Ok(rule) => user_rules.push(rule),
                Err(fault) => faults.push(fault),
            }
        }
        match username {
            Some(username) if faults.is_empty() => {
                Ok(Self { username, groups, uid, extra, required, claim_rules, user_rules })
            }
            _ => Err(faults),
        }
    }

    /// The user of these claims, which are already believed. An error says why there is none.
    pub(super) fn identity(&self, claims: &Value) -> Result<Identity, String> {
        let mut identity = Identity {
            name: self.username(claims)?,
            groups: self.groups(claims)?,
            uid: match &self.uid {
                None => String::new(),
                Some(uid) => uid.text(claims, "uid")?,
            },
            extra: BTreeMap::new(),
        };
        for (key, program) in &self.extra {
            let failed = |why: String| format!("oidc: error evaluating extra claim expression: {why}");
            let values = texts(&evaluate(program, "claims", claims).map_err(failed)?).map_err(failed)?;
            if !values.is_empty() {
                identity.extra.insert(key.clone(), values);
            }
        }
        for (claim, want) in &self.required {
            match &claims[claim.as_str()] {
                Value::Null => return Err(format!("oidc: required claim {claim} not present in ID token")),
                Value::String(got) if got == want => {}
                _ => return Err(format!("oidc: required claim {claim} value does not match")),
            }
        }
        check(&self.claim_rules, "claims", claims, "claim validation expression")?;
        let user = json!({
            "username": identity.name, "uid": identity.uid, "groups": identity.groups, "extra": identity.extra,
        });
        check(&self.user_rules, "user", &user, "user info validation rule")?;
        Ok(identity)
    }

    fn username(&self, claims: &Value) -> Result<String, String> {
        // An address that nobody has shown to be theirs names nobody.
        let by_email = matches!(&self.username, Source::Claim { name, .. } if name == "email");
        match &claims["email_verified"] {
            Value::Null | Value::Bool(true) => {}
            Value::Bool(false) if by_email => return Err("oidc: email not verified".to_owned()),
            _ if by_email => return Err("oidc: parse 'email_verified' claim: it is no boolean".to_owned()),
            _ => {}
        }
        let name = self.username.text(claims, "username")?;
        if name.is_empty() { Err("oidc: the username is empty".to_owned()) } else { Ok(name) }
    }

    fn groups(&self, claims: &Value) -> Result<Vec<String>, String> {
        match &self.groups {
            None => Ok(Vec::new()),
            Some(Source::Claim { name, prefix }) => {
                let groups = texts(&claims[name.as_str()]);
                let groups =
                    groups.map_err(|_| format!("oidc: parse groups claim {name:?}: it is no list of strings"))?;
                Ok(groups.into_iter().map(|group| format!("{prefix}{group}")).collect())
            }
            Some(Source::Expression(program)) => {
                let failed = |why: String| format!("oidc: error evaluating group claim expression: {why}");
                texts(&evaluate(program, "claims", claims).map_err(failed)?).map_err(failed)
            }
        }
    }
}

impl Source {
    fn text(&self, claims: &Value, what: &str) -> Result<String, String> {
        match self {
            Self::Claim { name, prefix } => match &claims[name.as_str()] {
                Value::String(text) => Ok(format!("{prefix}{text}")),
                Value::Null => Err(format!("oidc: parse {what} claims {name:?}: claim not present")),
                _ => Err(format!("oidc: parse {what} claims {name:?}: it is no string")),
            },
            Self::Expression(program) => {
                let failed = |why: String| format!("oidc: error evaluating {what} claim expression: {why}");
                match evaluate(program, "claims", claims).map_err(failed)? {
                    Value::String(text) => Ok(text),
                    _ => Err(failed(format!("{what} claim expression must return a string"))),
                }
            }
        }
    }
}

fn source(mapping: &Mapping, path: &Path, prefix: Prefix, env: &Env) -> Result<Option<Source>, Error> {
    match (mapping.claim.as_str(), mapping.expression.as_str(), &mapping.prefix) {
        ("", "", None) => Ok(None),
        ("", "", Some(prefix)) => {
            Err(Error::invalid(&path.child("prefix"), prefix.clone(), "prefix can't be set without claim"))
        }
        ("", _, Some(prefix)) => {
            Err(Error::invalid(&path.child("prefix"), prefix.clone(), "prefix can't be set when expression is set"))
        }
        ("", expression, None) => compile(env, expression, &path.child("expression")).map(Source::Expression).map(Some),
        (_, "", None) if prefix == Prefix::Required => {
            let why = "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
            Err(Error::required(&path.child("prefix"), why))
        }
        (claim, "", prefix) => {
            let prefix = prefix.clone().unwrap_or_default();
            Ok(Some(Source::Claim { name: claim.to_owned(), prefix }))
        }
        _ => Err(Error::invalid(path, "", "claim and expression can't both be set")),
    }
}

fn extra(jwt: &Jwt, path: &Path, env: &Env, faults: &mut Vec<Error>) -> Vec<(String, Program)> {
    let (mut extra, mut seen) = (Vec::new(), BTreeSet::new());
    for (index, mapping) in jwt.claim_mappings.extra.iter().enumerate() {
        let path = path.index(index);
        let key = path.child("key");
        if !mapping.key.contains('/') {
            faults.push(Error::invalid(
                &key,
                mapping.key.clone(),
                "key must be a domain-prefixed path (e.g. example.org/foo)",
            ));
        } else if mapping.key.to_lowercase() != mapping.key {
            faults.push(Error::invalid(&key, mapping.key.clone(), "key must be lowercase"));
        } else if !seen.insert(&mapping.key) {
            faults.push(Error::duplicate(&key, mapping.key.clone()));
        }
        match compile(env, &mapping.value_expression, &path.child("valueExpression")) {
            Ok(program) => extra.push((mapping.key.clone(), program)),
            Err(fault) => faults.push(fault),
        }
    }
    extra
}

fn rule(env: &Env, (source, message): (&str, &str), path: &Path) -> Result<Rule, Error> {
    let program = compile(env, source, &path.child("expression"))?;
    if !matches!(program.ty(), Type::Bool | Type::Dyn) {
        return Err(Error::invalid(&path.child("expression"), source, "must evaluate to bool"));
    }
    Ok(Rule { source: source.to_owned(), program, message: message.to_owned() })
}

fn compile(env: &Env, source: &str, path: &Path) -> Result<Program, Error> {
    if source.is_empty() {
        return Err(Error::required(path, "expression is required"));
    }
    env.compile(source).map_err(|error| Error::invalid(path, source, format!("compilation failed: {error}")))
}

fn evaluate(program: &Program, name: &str, value: &Value) -> Result<Value, String> {
    let found = program.evaluate(&Bindings::new().json(name, value), &Budget::new(Budget::CALL));
    found.map_err(|error| error.to_string())?.to_json()
}

fn check(rules: &[Rule], name: &str, value: &Value, what: &str) -> Result<(), String> {
    for Rule { source, program, message } in rules {
        let failed = |why: String| format!("oidc: error evaluating {what}: {why}");
        let found = program.evaluate(&Bindings::new().json(name, value), &Budget::new(Budget::CALL));
        match found.map_err(|error| failed(error.to_string()))? {
            Cel::Bool(true) => {}
            Cel::Bool(false) if message.is_empty() => {
                return Err(failed(format!("validation expression '{source}' failed")));
            }
            Cel::Bool(false) => return Err(failed(format!("validation expression '{source}' failed: {message}"))),
            _ => return Err(failed("validation expression must return a boolean".to_owned())),
        }
    }
    Ok(())
}

/// A string or a list of strings; what is empty is not there.
fn texts(value: &Value) -> Result<Vec<String>, String> {
    let wrong = || "expression must return a string or a list of strings".to_owned();
    let mut texts = match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => {
            let text = |item: &Value| item.as_str().map(str::to_owned).ok_or_else(wrong);
            items.iter().map(text).collect::<Result<_, _>>()?
        }
        _ => return Err(wrong()),
    };
    texts.retain(|text| !text.is_empty());
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The user in one line, or why there is none.
    #[track_caller]
    fn check(mapping: &str, claims: Value, want: Result<&str, &str>) {
        let jwt: Jwt = serde_yaml_ng::from_str(&format!("issuer: {{}}\n{mapping}")).unwrap();
        let mapper = Mapper::compile(&jwt, &Path::new("jwt")).map_err(|faults| faults[0].to_string());
        let got = mapper.and_then(|mapper| mapper.identity(&claims));
        let got = got.map(|who| format!("{} {} [{}] {:?}", who.name, who.uid, who.groups.join(" "), who.extra));
        assert_eq!(got.as_deref().map_err(String::as_str), want);
    }

    #[test]
    fn claims() {
        let mapping = "claimMappings: {username: {claim: email, prefix: 'o:'}, groups: {claim: g, prefix: 'o:'}, uid: {claim: sub}}";
        let good = json!({ "email": "a@b", "email_verified": true, "g": ["x", "y"], "sub": "7" });
        check(mapping, good, Ok("o:a@b 7 [o:x o:y] {}"));
        check(mapping, json!({ "email": "a@b", "g": "x", "sub": "7" }), Ok("o:a@b 7 [o:x] {}"));
        check(mapping, json!({ "email": "a@b", "email_verified": false }), Err("oidc: email not verified"));
        check(mapping, json!({ "sub": "7" }), Err("oidc: parse username claims \"email\": claim not present"));
        check(mapping, json!({ "email": 7 }), Err("oidc: parse username claims \"email\": it is no string"));
        let odd = Err("oidc: parse groups claim \"g\": it is no list of strings");
        check(mapping, json!({ "email": "a@b", "g": [1] }), odd);
    }

    #[test]
    fn expressions() {
        let mapping = "
claimMappings:
  username: {expression: 'claims.user + \"@\" + claims.realm'}
  groups: {expression: 'claims.roles.filter(r, r.startsWith(\"k8s-\"))'}
  extra: [{key: example.org/team, valueExpression: claims.team}]
claimValidationRules: [{expression: 'claims.realm == \"corp\"', message: wrong realm}]
userValidationRules: [{expression: '!user.username.startsWith(\"system:\")', message: reserved}]";
        let claims = |user: &str, realm: &str| json!({ "user": user, "realm": realm, "roles": ["k8s-admin", "x"], "team": "blue" });
        check(mapping, claims("ann", "corp"), Ok("ann@corp  [k8s-admin] {\"example.org/team\": [\"blue\"]}"));
        let wrong = "oidc: error evaluating claim validation expression: validation expression 'claims.realm == \"corp\"' failed: wrong realm";
        check(mapping, claims("ann", "home"), Err(wrong));
        let reserved = "oidc: error evaluating user info validation rule: validation expression '!user.username.startsWith(\"system:\")' failed: reserved";
        check(mapping, claims("system:admin", "corp"), Err(reserved));
        let absent = "oidc: error evaluating username claim expression: no such key: user";
        check(mapping, json!({ "realm": "corp" }), Err(absent));
    }

    #[test]
    fn required_claims() {
        let mapping = "claimMappings: {username: {claim: sub, prefix: ''}}\nclaimValidationRules: [{claim: hd, requiredValue: corp}]";
        check(mapping, json!({ "sub": "ann", "hd": "corp" }), Ok("ann  [] {}"));
        check(mapping, json!({ "sub": "ann" }), Err("oidc: required claim hd not present in ID token"));
        check(mapping, json!({ "sub": "ann", "hd": "x" }), Err("oidc: required claim hd value does not match"));
    }

    #[test]
    fn faults() {
        let with = |username: &str| format!("claimMappings: {{username: {{{username}}}}}");
        check(
            &with("claim: a, expression: claims.b"),
            json!({}),
            Err("jwt.claimMappings.username: Invalid value: \"\": claim and expression can't both be set"),
        );
        check(
            &with("expression: claims.b, prefix: x"),
            json!({}),
            Err("jwt.claimMappings.username.prefix: Invalid value: \"x\": prefix can't be set when expression is set"),
        );
    }
}
