// What looks like a secret: by its name, or by a format that nothing else has. A name alone proves nothing; a value that
// is a path, an address, a switch or a stand-in is none.

/** Such a name holds a secret, whatever the value looks like. Not so `TOKEN_URL`, `PASSWORD_FILE`. */
const NAME = /(?:password|passwd|passphrase)$|(?:^|_)(?:token|secret|apikey|credentials?)$/i;
const KEY_NAME = /(?:^|_)(?:api|access|secret|private|encryption|signing|auth|master|jwt|hmac)_key$/i;
/** Any other key: a secret only if its value looks random. */
const OTHER_KEY_NAME = /_key$/i;
const PUBLIC_KEY_NAME = /(?:public|pub|gpg|pgp|apt|repo|host|release)_?key$/i;

/** Digits alone are a password, but no token: `MAX_TOKEN=4096`. */
const PASSWORD_NAME = /(?:password|passwd|passphrase)$/i;

const FORMATS: readonly RegExp[] = [
  /\b(?:AKIA|ASIA)(?![0-9A-Z]*EXAMPLE)[0-9A-Z]{16}\b/,
  /\bgh[pousr]_[A-Za-z0-9]{36}/,
  /\bgithub_pat_[A-Za-z0-9_]{22}/,
  /\bglpat-[A-Za-z0-9_-]{20}/,
  /\bxox[abprs]-[A-Za-z0-9-]{10}/,
  /\bnpm_[A-Za-z0-9]{36}/,
  /\bdckr_pat_[A-Za-z0-9_-]{20}/,
  /\bsk_live_[A-Za-z0-9]{16}/,
  /\bAIza[0-9A-Za-z_-]{35}/,
  /-----BEGIN (?:(?:RSA|EC|DSA|OPENSSH|ENCRYPTED|PGP) )?PRIVATE KEY(?: BLOCK)?-----/,
];

/** Tokens and private keys that are known by their format. */
export function holdsKnownSecret(text: string): boolean {
  return FORMATS.some((format) => format.test(text));
}

export function isSecretName(name: string): boolean {
  return NAME.test(name) || KEY_NAME.test(name);
}

/** Whether the variable `name` with this literal value is a secret. */
export function isSecret(name: string, value: string): boolean {
  if (!isLiteral(value)) return false;
  if (isSecretName(name)) return PASSWORD_NAME.test(name) || !/^[0-9.]+$/.test(value);
  return OTHER_KEY_NAME.test(name) && !PUBLIC_KEY_NAME.test(name) && looksRandom(value);
}

const SWITCH = /^(?:true|false|yes|no|on|off|none|null|nil|undefined)$/i;
const PLACE = /^(?:[./~]|[A-Za-z]:\\|[A-Za-z][A-Za-z0-9+.-]*:\/\/)/;
const STAND_IN =
  /placeholder|dummy|fake|unused|not[-_]?used|example|replace|change[-_]?me|insert|your[-_]|^<|^\{|^[x*.!]+$|^(?:dev|test|todo|tbd|foo|bar|empty|build|local)$/i;

/** A value that is written out: no variable, switch, path, address or stand-in. */
export function isLiteral(value: string): boolean {
  const text = value.trim();
  return text !== '' && !/[$`]/.test(text) && !SWITCH.test(text) && !PLACE.test(text) && !STAND_IN.test(text);
}

function looksRandom(value: string): boolean {
  return /^[A-Za-z0-9+/=_-]{16,}$/.test(value) && /[0-9]/.test(value) && /[A-Za-z]/.test(value);
}
