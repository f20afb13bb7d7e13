//! Signing in: not done, not possible, or not right.

use super::steps::{CREDENTIALS, ENCRYPTION, SIGN_IN};
use crate::diagnosis::session::{Gravity, Program, Section};

pub(crate) const AUTH_IN_CLEAR: Section = Section {
    title: "Signing in without encryption",
    meaning: "The program wants to say its password in clear. The server does not take passwords before TLS, and does not offer AUTH there: the program tries all the same.",
    user: "Your mail program wants to send your password unencrypted. In its settings for the outgoing server {host} choose STARTTLS with port {starttls_port}, or SSL/TLS with port {tls_port}; and change the password if the network was a foreign one.",
    remedy: "Tell the person the pair of port and encryption. The password may have crossed the network in clear: have it changed (`postern user passwd {user}`). For a device that cannot encrypt at all there is `clear_text_sign_in` in [[device]].",
    programs: ENCRYPTION,
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const UNSUPPORTED_MECHANISM: Section = Section {
    title: "No way to sign in that both sides know",
    meaning: "The program asked for an AUTH mechanism that is not offered, and no other attempt went well. Often \"encrypted password\" (CRAM-MD5), \"Secure Password Authentication\" (NTLM) or OAuth2 is chosen in it.",
    user: "Your mail program wants to sign in by a method that {host} does not offer. Choose \"Normal password\" (or \"Password\", \"PLAIN\") together with STARTTLS or SSL/TLS: the encryption protects it.",
    remedy: "`mechanisms` in [auth] names what is announced; `postern config show` has what counts now. CRAM-MD5 and NTLM do not exist here: they need passwords stored in clear, or are broken. OAuth2 needs a [[directory]] of that kind.",
    programs: &[
        (Program::OutlookClassic, "Untick \"Require logon using Secure Password Authentication (SPA)\"."),
        (
            Program::Thunderbird,
            "Account Settings > Outgoing Server (SMTP) > Edit: authentication method \"Normal password\".",
        ),
        (
            Program::AppleMail,
            "Mail > Settings > Accounts > Server Settings, Outgoing Mail Server: authentication \"Password\".",
        ),
        (
            Program::IosMail,
            "In the settings of the SMTP server: authentication \"Password\", not \"MD5 Challenge-Response\" or \"NTLM\".",
        ),
        (
            Program::ThunderbirdAndroid,
            "Settings > the account > Sending mail > Outgoing server: authentication \"Normal password\".",
        ),
        (
            Program::Printer,
            "Choose PLAIN or LOGIN, or \"automatic\", as the authentication method; not CRAM-MD5, NTLM or \"POP before SMTP\".",
        ),
        (Program::Msmtp, "`auth plain`, or `auth on` to have it choose."),
        (Program::Swaks, "`--auth PLAIN`."),
        (Program::Curl, "`--login-options AUTH=PLAIN`."),
        (Program::Mutt, "`unset smtp_authenticators`, or `set smtp_authenticators=\"plain\"`."),
        (Program::PhpMailer, "`$mail->AuthType = \"PLAIN\"`, or leave it out."),
    ],
    symptoms: &[
        "The Outgoing server does not support the selected authentication method",
        "No supported authentication method",
    ],
    gravity: Gravity::Person,
};

pub(crate) const NO_SIGN_IN_HERE: Section = Section {
    title: "Signing in where nobody signs in",
    meaning: "The program says AUTH on a listener that takes no sign-ins, mostly port 25, which is for other servers.",
    user: "Your mail program uses the wrong port. In its settings for the outgoing server {host} choose port {starttls_port} with STARTTLS, or port {tls_port} with SSL/TLS.",
    remedy: "Have programs use the submission ports. `auth = true` on the relay [[listener]] lets devices sign in there that know only port 25. Many unknown addresses that do so are password guessers; they get nowhere.",
    programs: ENCRYPTION,
    symptoms: &["502 5.5.1 AUTH is not available here"],
    gravity: Gravity::Program,
};

pub(crate) const SIGN_IN_NOT_USED: Section = Section {
    title: "\"My server requires authentication\" is not ticked",
    meaning: "The program goes on to send without signing in. User and password are not set for the outgoing server, or the option that has it sign in there is off.",
    user: "Your mail program sends without signing in. In its settings for the outgoing server {host} turn authentication on (\"My outgoing server requires authentication\"), with {login} and the password.",
    remedy: "Tell the person. For a device that cannot sign in there is [[device]] with `sign_in = \"none\"`, for a server of yours [[relay.networks]].",
    programs: SIGN_IN,
    symptoms: &["550 Authentication required", "0x800CCC78"],
    gravity: Gravity::Person,
};

pub(crate) const UNKNOWN_ACCOUNT: Section = Section {
    title: "Nobody has the name that was used to sign in",
    meaning: "The name is misspelt, was never set up, or is a guess of somebody who tries out names.",
    user: "The user name in your mail program is wrong. Enter it for the outgoing server {host} exactly as your administrator gave it to you, and mind its spelling.",
    remedy: "`postern user list` names Postern's own users, `postern user show {user}` asks every directory. Many different names from one address are guesses; they end in a ban by themselves.",
    programs: CREDENTIALS,
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const NAME_WITHOUT_DOMAIN: Section = Section {
    title: "The user name lacks its domain",
    meaning: "The name that was used to sign in is nobody's, but with one of our domains behind it, it is somebody's: the whole mail address is the name here.",
    user: "Enter your whole mail address as the user name for the outgoing server {host}, with the part from the @ on.",
    remedy: "Tell the person the whole name. Where all names are of one domain, the directory can be asked by the local part alone: see `names` and {local} in the chapter on directories.",
    programs: CREDENTIALS,
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const NAME_WITH_WRONG_DOMAIN: Section = Section {
    title: "The user name has a wrong domain",
    meaning: "The name that was used to sign in is nobody's, but without its domain, or with another one, it is somebody's.",
    user: "The part of your user name from the @ on is wrong for the outgoing server {host}. Ask your administrator whether the name has such a part, and which.",
    remedy: "The explanation says what name would be somebody's. Tell the person, or have the directory look in that domain too (`domains` in [[directory]]).",
    programs: CREDENTIALS,
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const UNUSABLE_NAME: Section = Section {
    title: "The user name cannot be anybody's",
    meaning: "The name is empty, too long, or holds characters that no name has. Mostly something else was entered in its place, or the program sends the name in an odd character set.",
    user: "The user name in your mail program cannot be right. Enter it anew for the outgoing server {host}, without blanks before or behind it.",
    remedy: "The explanation has the name as it came. A device that cuts names off, or cannot say an @, needs a short one: `postern user add`.",
    programs: CREDENTIALS,
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const WRONG_PASSWORD: Section = Section {
    title: "The password is wrong",
    meaning: "The name is somebody's, and the password is not his. After a change of the password every program and device that still has the old one goes on trying it: the same wrong password again and again counts as one guess.",
    user: "The password for {account} is wrong. Enter it anew in the settings of the outgoing server {host}; many programs keep it apart from the one for incoming mail. On every other device, too, if it was changed lately.",
    remedy: "`postern user show {user}` has the last sign-ins and failures with their addresses. A new password: `postern user passwd {user}`. If the person does not know of the attempts, somebody guesses.",
    programs: CREDENTIALS,
    symptoms: &["Login to server failed", "Username and password not accepted", "0x800CCC92"],
    gravity: Gravity::Person,
};

pub(crate) const ACCOUNT_DISABLED: Section = Section {
    title: "The account may not be used",
    meaning: "The directory knows the name, and the account is disabled, locked, expired, or has a password that must be changed first.",
    user: "At the moment {account} may not be used. Your password need not be wrong; ask your administrator.",
    remedy: "The explanation has the directory's reason. Postern's own users: `postern user enable {user}`. Elsewhere the directory has to allow it.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const APP_PASSWORD_NEEDED: Section = Section {
    title: "Only app passwords count",
    meaning: "The password is right, but for this account programs need a password of their own, so that the main one is nowhere stored.",
    user: "Your main password does not count in mail programs. Ask your administrator for an app password for {account}, and enter that in the settings of the outgoing server {host}.",
    remedy: "`postern user app-password add {user} NAME` makes one and shows it once. Whether the main password counts: `postern user main-password`, or `app_passwords_only` in [[directory]].",
    programs: CREDENTIALS,
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const ACCOUNT_BANNED: Section = Section {
    title: "The account is barred from signing in",
    meaning: "An administrator has banned the account, or Postern has, because it looked stolen.",
    user: "For the time being {account} is barred from sending. Ask your administrator.",
    remedy: "`postern ban list` says why and until when; `postern ban remove {user}` lifts it. Have the password changed first if it may be stolen.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const CLIENT_BANNED: Section = Section {
    title: "The address is banned",
    meaning: "The client's address or network is turned away before anything else, because many wrong passwords came from there, or because the administrator wants it so. A person behind the same router as a guesser is hit, too.",
    user: "{host} takes no connections from your network for the time being. Correct the password on all your devices, and try another network or ask your administrator.",
    remedy: "`postern ban list` says why and until when; `postern ban remove ADDRESS` lifts it and forgets the wrong passwords. Networks of your own belong in `never` of [bans].",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const TOO_MANY_GUESSES: Section = Section {
    title: "Too many wrong passwords lately",
    meaning: "So many different wrong passwords were tried for the account, or from the network, that sign-ins are not looked at for now, except from where the account signed in before. The password may well be right.",
    user: "Too many wrong passwords were tried for {account} lately. Wait an hour, or send from the network that you usually use; correct the password on all your devices.",
    remedy: "`postern ban list` shows closed accounts; `postern ban remove {user}` forgets the guesses. The bounds stand in [guessing].",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const SIGN_INS_TOO_FAST: Section = Section {
    title: "Failed sign-ins come too fast",
    meaning: "More sign-ins failed than are looked at in so much time, or too many wait to be looked at.",
    user: "Your mail program signs in too often. Wait a few minutes, correct the password on all your devices, and try again.",
    remedy: "`postern why {user}` shows which programs try. The bounds are `failed_sign_ins` in [rates] and those of [guessing]. If all people are hit, the directory is slow.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const TOKEN_REJECTED: Section = Section {
    title: "The access token is no good",
    meaning: "The program signed in with an OAuth access token that the provider did not make for this, or that has expired or was withdrawn.",
    user: "The sign-in of your mail program has run out. Remove its stored sign-in for {host} and sign in anew in the window that it opens.",
    remedy: "The explanation says what is wrong with the token: issuer, audience, scope, time or signature. Compare `issuer`, `audience` and `scopes` in [directory.oauth], and the clocks.",
    programs: &[(
        Program::Thunderbird,
        "Settings > Privacy & Security > Saved Passwords: remove the entry that begins with oauth://.",
    )],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const ACTING_AS_REFUSED: Section = Section {
    title: "Signing in as somebody else",
    meaning: "The proof is right, but the program named another identity to act as (the authorization identity of SASL), and nobody may act as somebody else here.",
    user: "Your mail program signs in as somebody else. Leave the field for an authorization identity empty.",
    remedy: "Have the authorization identity removed from the program's settings. Who may send as whose address is said by addresses and [[send_as]] instead.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const OTHER_CHANNEL: Section = Section {
    title: "The proof belongs to another connection",
    meaning: "The program bound its sign-in to the encrypted channel (SCRAM-…-PLUS), and the channel that it named is not this one. Something in between ends TLS and begins it anew: a virus scanner, a company's proxy, or an attacker; or the program is broken.",
    user: "Something between your mail program and {host} opens the encryption. Turn a virus scanner's check of encrypted connections off; if that does not help, tell your administrator from which network you came.",
    remedy: "Find out what stands in between: `postern check-server {host}` run there says whether the certificate is replaced. If it is a proxy of yours, it has to pass TLS on untouched.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const CERTIFICATE_OF_NOBODY: Section = Section {
    title: "The client certificate is nobody's",
    meaning: "The certificate verifies, but none of the mail addresses in it is that of a user.",
    user: "The certificate in your mail program belongs to nobody that {host} knows. Ask your administrator for one with your mail address.",
    remedy: "Issue one with the person's address (`postern ca issue`), or give the address to the user: `postern user address add {user} ADDRESS`.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const PROOF_NOT_JUDGED: Section = Section {
    title: "No directory judges such a sign-in",
    meaning: "The mechanism is offered, but no directory that may know the name can check what the program gave: a token without a directory of the kind OAuth, or SCRAM where passwords are stored in another form.",
    user: "Your mail program signs in by a method that does not work for {account}. Choose \"Normal password\" (or \"Password\", \"PLAIN\") together with STARTTLS or SSL/TLS.",
    remedy: "Leave out of `mechanisms` in [auth] what not every directory can judge: programs take the strongest that they find.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const SIGN_IN_MALFORMED: Section = Section {
    title: "The sign-in has the wrong form",
    meaning: "What the program sent as name and password is no base64, or does not fit the mechanism, or is too long. Mostly a script that does it by hand.",
    user: "Your mail program signs in to {host} in a broken way. Update it, or use another program.",
    remedy: "A script has to encode without a line feed at the end: `printf '\\0user\\0password' | base64`, not `echo`. A password that holds characters beyond ASCII must be UTF-8.",
    programs: &[
        (Program::Smtplib, "Use login(), not docmd()."),
        (Program::Swaks, "`--auth PLAIN --auth-user {user}` does the encoding."),
    ],
    symptoms: &[
        "501 5.5.2 Cannot decode: not base64",
        "501 5.5.2 Malformed authentication message",
        "500 5.5.6 Authentication exchange line is too long",
    ],
    gravity: Gravity::Program,
};

pub(crate) const SIGN_IN_CANCELLED: Section = Section {
    title: "The program broke its sign-in off",
    meaning: "The program began to sign in and then sent `*`, or left in the middle: it has no password, its user closed the window that asks for one, or the server's proof (SCRAM) did not convince it.",
    user: "Your mail program has no password for {host}, or you closed the window that asks for it. Try again and enter the password for {account}.",
    remedy: "If it happens every time with SCRAM, something in between changes the exchange, or the stored keys are damaged: set the password anew (`postern user passwd {user}`).",
    programs: &[],
    symptoms: &["501 5.0.0 Authentication cancelled"],
    gravity: Gravity::Program,
};

pub(crate) const DIRECTORY_DOWN: Section = Section {
    title: "The directory does not answer",
    meaning: "Postern could not ask the directory whether the password is right. Nobody's password is taken for wrong on that account.",
    user: "{host} cannot check passwords at the moment. Yours is probably right; try again in a few minutes.",
    remedy: "The log names the directory and what went wrong. Is it running and reachable, is its certificate good, is the account that Postern asks with allowed to? `bridge` in [[directory]] lets sign-ins that were right lately go on meanwhile.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};
