// What comes out: who signed the image, or why nobody is believed to have. A signature that does not count is a value,
// because it is somebody else's input; inside the stage it travels as an exception, so that every step reads straight on.

import { TerminalError } from '../errors.ts';

/** Who signed, in the words of the trust that let them: the key by its name there, the identity as the certificate has it. */
export type Signer =
  | { readonly kind: 'key'; readonly name: string }
  | { readonly kind: 'identity'; readonly issuer: string; readonly subject: string };

/**
 * Unreadable: not what the format says, or cut off. Unsupported: a format that is not verified here. InvalidTrust: a key,
 * an expression or the trusted root cannot be used. NoTrustRoot: it takes one to verify an identity. InvalidSignature: made
 * with none of the keys, or what was signed was changed. InvalidEvidence: no transparency log or time-stamp authority of
 * the trusted root vouches for it. UntrustedCertificate: not issued by an authority of the trusted root.
 * UntrustedSigner: proven, but nobody who is trusted. AnotherImage: it is about something else. AnotherPredicate: it says
 * something else about the image than that it was signed.
 */
export type RejectionReason =
  | 'Unreadable'
  | 'Unsupported'
  | 'InvalidTrust'
  | 'NoTrustRoot'
  | 'InvalidSignature'
  | 'InvalidEvidence'
  | 'UntrustedCertificate'
  | 'UntrustedSigner'
  | 'AnotherImage'
  | 'AnotherPredicate';

export type Verification =
  | { readonly kind: 'verified'; readonly signer: Signer }
  | { readonly kind: 'rejected'; readonly reason: RejectionReason; readonly message: string };

/** `message` is fit to follow "The signature was not accepted: ". */
export class SignatureError extends TerminalError {
  readonly reason: RejectionReason;

  constructor(reason: RejectionReason, message: string, cause?: unknown) {
    super(message, { code: `Signature${reason}`, ...(cause !== undefined && { cause }) });
    this.reason = reason;
  }
}

const MAX_MESSAGE_LENGTH = 512;

/** Runs one verification. Anything but a SignatureError is a bug and passes through. */
export function toVerification(verify: () => Signer): Verification {
  try {
    return { kind: 'verified', signer: verify() };
  } catch (thrown) {
    if (!(thrown instanceof SignatureError)) throw thrown;
    // Parts of it are a stranger's words: of any length, and perhaps half a character.
    return {
      kind: 'rejected',
      reason: thrown.reason,
      message: thrown.message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed(),
    };
  }
}
