// A certificate authority for tests: it issues server and client certificates of the kinds Kubernetes and registries
// want. The work is openssl's; keys are P-256, because RSA keys would cost seconds per start.

import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun } from '../support/processes.ts';

export interface KeyPair {
  readonly certPath: string;
  readonly keyPath: string;
}

export interface CertificateAuthority extends KeyPair {
  /** The authority's own certificate, PEM. */
  readonly certificate: string;
  /** Issues a certificate for a server reachable under these IP addresses and DNS names, good for clients too. */
  issueServer(name: string, hosts: readonly string[], subject?: Subject): Promise<KeyPair>;
  /** Issues a client certificate; Kubernetes reads the user from `user` and his groups from `groups`. */
  issueClient(name: string, subject: Subject): Promise<KeyPair>;
}

export interface Subject {
  readonly user: string;
  readonly groups?: readonly string[];
}

const DAYS = '3650';
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', DAYS];

/** Creates an authority whose files, and those of all it issues, lie in `directory`; `name` is its file and common name. */
export async function createAuthority(directory: string, name: string): Promise<CertificateAuthority> {
  await mkdir(directory, { recursive: true });
  await mustRun([
    ...['openssl', 'req', '-x509', ...NEW_KEY, '-subj', `/CN=${name}`],
    ...['-keyout', join(directory, `${name}.key`), '-out', join(directory, `${name}.crt`)],
    ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
  ]);
  return openAuthority(directory, name);
}

/** An authority that {@link createAuthority} made earlier, perhaps in another process. */
export async function openAuthority(directory: string, name: string): Promise<CertificateAuthority> {
  const certPath = join(directory, `${name}.crt`);
  const keyPath = join(directory, `${name}.key`);

  async function issue(file: string, subject: Subject, extensions: readonly string[]): Promise<KeyPair> {
    const issued = { certPath: join(directory, `${file}.crt`), keyPath: join(directory, `${file}.key`) };
    const parts = [
      ...(subject.groups ?? []).map((group) => `O=${escapePart(group)}`),
      `CN=${escapePart(subject.user)}`,
    ];
    await mustRun([
      ...['openssl', 'req', '-x509', ...NEW_KEY, '-CA', certPath, '-CAkey', keyPath],
      ...['-keyout', issued.keyPath, '-out', issued.certPath, '-subj', `/${parts.join('/')}`],
      ...['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature', ...extensions].flatMap(
        (extension) => ['-addext', extension],
      ),
    ]);
    return issued;
  }

  return {
    certPath,
    keyPath,
    certificate: await readFile(certPath, 'utf8'),
    issueServer: (file, hosts, subject = { user: file }) =>
      issue(file, subject, [
        'extendedKeyUsage=serverAuth,clientAuth',
        `subjectAltName=${hosts.map((host) => (isAddress(host) ? `IP:${host}` : `DNS:${host}`)).join(',')}`,
      ]),
    issueClient: (file, subject) => issue(file, subject, ['extendedKeyUsage=clientAuth']),
  };
}

/** Writes a key pair for signing tokens (service accounts, registry tokens). Returns the paths of both halves, PEM. */
export async function createSigningKey(
  directory: string,
  name: string,
): Promise<{ readonly privatePath: string; readonly publicPath: string }> {
  const privatePath = join(directory, `${name}.key`);
  const publicPath = join(directory, `${name}.pub`);
  await mustRun(['openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', privatePath]);
  await mustRun(['openssl', 'ec', '-in', privatePath, '-pubout', '-out', publicPath]);
  return { privatePath, publicPath };
}

function isAddress(host: string): boolean {
  return /^[0-9.]+$/.test(host) || host.includes(':');
}

function escapePart(text: string): string {
  return text.replaceAll(/[\\/+]/g, (character) => `\\${character}`);
}
