//! Which user and groups a container runs as, from names and numbers in CRI, the image, and the image's own files.

use serde::{Deserialize, Serialize};

use super::Error;

/// Beyond this, numbers wrap to something else in some programs; the common runtimes refuse them too.
const MAX_ID: u32 = i32::MAX as u32;

/// The account files of an image.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    /// The text of `/etc/passwd`.
    pub(crate) passwd: String,
    /// The text of `/etc/group`.
    pub(crate) group: String,
}

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct WantedUser<'a> {
    /// `user[:group]` in the image, each a name or a number.
    pub(crate) image: &'a str,
    pub(crate) uid: Option<i64>,
    pub(crate) name: &'a str,
    pub(crate) gid: Option<i64>,
    pub(crate) groups: &'a [i64],
    /// Only the groups asked for, not those of the image's `/etc/group`.
    pub(crate) strict_groups: bool,
}

/// Who a container runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplemental groups.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// Finds out who `wanted` is. A number needs no account; a name does.
pub(crate) fn resolve(wanted: &WantedUser<'_>, accounts: &Accounts) -> Result<Identity, Error> {
    let (image_user, image_group) = wanted.image.split_once(':').unwrap_or((wanted.image, ""));
    let user = match wanted.uid {
        Some(uid) => uid.to_string(),
        None if wanted.name.is_empty() => image_user.to_owned(),
        None => wanted.name.to_owned(),
    };
    // The image's group belongs to the image's user.
    let own_user = wanted.uid.is_none() && wanted.name.is_empty();
    let account = find_account(&user, accounts)?;
    let gid = match wanted.gid {
        Some(gid) => id(&gid.to_string())?,
        None if own_user && !image_group.is_empty() => find_group(image_group, accounts)?,
        None => account.gid,
    };
    let mut groups = if wanted.strict_groups { Vec::new() } else { memberships(account.name, accounts) };
    for group in wanted.groups {
        groups.push(id(&group.to_string())?);
    }
    let home = if account.home.is_empty() { "/" } else { account.home };
    let mut identity = Identity { uid: account.uid, gid, groups: Vec::new(), home: home.to_owned() };
    groups.into_iter().for_each(|group| {
        if !identity.groups.contains(&group) {
            identity.groups.push(group);
        }
    });
    Ok(identity)
}

fn find_account<'a>(user: &str, accounts: &'a Accounts) -> Result<Account<'a>, Error> {
    if user.is_empty() {
        return Ok(lookup(accounts, |account| account.uid == 0).unwrap_or(Account {
            name: "root",
            uid: 0,
            gid: 0,
            home: "/root",
        }));
    }
    if user.bytes().all(|byte| byte.is_ascii_digit()) {
        let uid = id(user)?;
        return Ok(lookup(accounts, |account| account.uid == uid).unwrap_or(Account {
            name: "",
            uid,
            gid: 0,
            home: "/",
        }));
    }
    match lookup(accounts, |account| account.name == user) {
        Some(account) => Ok(account),
        None if user == "root" => Ok(Account { name: "root", uid: 0, gid: 0, home: "/root" }),
        None => Err(Error::User(user.to_owned())),
    }
}

fn lookup(accounts: &Accounts, wanted: impl Fn(&Account<'_>) -> bool) -> Option<Account<'_>> {
    let parse = |line| {
        let fields: Vec<&str> = str::split(line, ':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
        Some(Account { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    };
    accounts.passwd.lines().filter_map(parse).find(|account| wanted(account))
}

fn find_group(group: &str, accounts: &Accounts) -> Result<u32, Error> {
    if group.bytes().all(|byte| byte.is_ascii_digit()) {
        return id(group);
    }
    let found = groups(accounts).find(|(name, ..)| *name == group).map(|(_, gid, _)| gid);
    found.ok_or_else(|| Error::User(group.to_owned()))
}

fn memberships(user: &str, accounts: &Accounts) -> Vec<u32> {
    let member = |members: &str| members.split(',').any(|member| !user.is_empty() && member == user);
    groups(accounts).filter(|(_, _, members)| member(members)).map(|(_, gid, _)| gid).collect()
}

fn groups(accounts: &Accounts) -> impl Iterator<Item = (&str, u32, &str)> {
    accounts.group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

fn id(text: &str) -> Result<u32, Error> {
    text.parse().ok().filter(|id| *id <= MAX_ID).ok_or_else(|| Error::User(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/srv:/bin/false\nbroken\n".to_owned(),
            group: "root:x:0:\nweb:x:33:\nlog:x:4:web,other\nmail:x:8:web\n".to_owned(),
        }
    }

    fn check(wanted: &WantedUser<'_>, uid: u32, gid: u32, groups: &[u32]) {
        let identity = resolve(wanted, &accounts()).unwrap();
        assert_eq!((identity.uid, identity.gid, &identity.groups[..]), (uid, gid, groups), "{wanted:?}");
    }

    #[test]
    fn names_and_numbers() {
        check(&WantedUser::default(), 0, 0, &[]);
        check(&WantedUser { image: "web", ..Default::default() }, 33, 33, &[4, 8]);
        check(&WantedUser { image: "web:log", ..Default::default() }, 33, 4, &[4, 8]);
        check(&WantedUser { image: "1000:1000", ..Default::default() }, 1000, 1000, &[]);
        check(&WantedUser { image: "web:log", uid: Some(5), ..Default::default() }, 5, 0, &[]);
        check(&WantedUser { uid: Some(33), gid: Some(7), ..Default::default() }, 33, 7, &[4, 8]);
        check(&WantedUser { uid: Some(33), groups: &[9, 4], ..Default::default() }, 33, 33, &[4, 8, 9]);
        let strict = WantedUser { uid: Some(33), groups: &[9], strict_groups: true, ..Default::default() };
        check(&strict, 33, 33, &[9]);
    }

    #[test]
    fn unknown_names_and_huge_numbers_are_refused() {
        for image in ["nobody", "web:nogroup", "4294967295", "99999999999"] {
            let wanted = WantedUser { image, ..Default::default() };
            assert!(resolve(&wanted, &accounts()).is_err(), "{image}");
        }
        assert!(resolve(&WantedUser { uid: Some(-1), ..Default::default() }, &accounts()).is_err());
    }

    #[test]
    fn home_comes_from_the_account() {
        let home = |image| resolve(&WantedUser { image, ..Default::default() }, &accounts()).unwrap().home;
        assert_eq!([home("web"), home("1234"), home("")], ["/srv", "/", "/root"]);
    }
}
