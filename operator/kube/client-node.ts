// The one thing Slipway runs of client-node. A static re-export of its own, imported when it is needed: so tests do not
// pay for loading the package, and the bundler can leave out the API classes, which are nine tenths of it.

export { KubeConfig } from '@kubernetes/client-node';
