// The configuration files of a node's programs: what a single node in a sandbox needs, and every trap's remedy.

import { join } from 'node:path';
import YAML from 'yaml';

export const NODE_NAME = 'node';
export const NODE_ADDRESS = '10.123.0.1';
export const API_PORT = 6443;
export const SERVICE_RANGE = '10.96.0.0/16';
export const API_SERVICE_ADDRESS = '10.96.0.1';
export const DNS_ADDRESS = '10.96.0.10';
export const POD_RANGE = '10.244.0.0/24';
export const REGISTRY_NAME = 'registry.slipway.test';
export const REGISTRY_PORT = 5000;
/** As images in this cluster are named: `registry.slipway.test:5000/acme/web:1.0.0`. */
export const REGISTRY_HOST = `${REGISTRY_NAME}:${REGISTRY_PORT}`;
export const PAUSE_IMAGE = `${REGISTRY_HOST}/slipway/pause:1`;
export const CONTAINERD_SOCKET = '/run/containerd/containerd.sock';

export function containerdConfig(directory: string): string {
  return `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "${CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE lowering the score fails, and every sandbox with it.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${join(directory, 'cni')}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${join(directory, 'certs.d')}"
`;
}

/** What containerd is told about the registry: plain http, at the node's address. */
export function registryHosts(): string {
  return `server = "http://${NODE_ADDRESS}:${REGISTRY_PORT}"
[host."http://${NODE_ADDRESS}:${REGISTRY_PORT}"]
  capabilities = ["pull", "resolve"]
`;
}

/**
 * Every pod has a link of its own to the node (`ptp`), no common bridge: so all traffic is routed, and Services work
 * without the kernel's bridge netfilter module, which a machine may lack.
 */
export function cniConfig(): string {
  return JSON.stringify({
    cniVersion: '0.4.0',
    name: 'slipway',
    plugins: [
      {
        type: 'ptp',
        ipMasq: false,
        ipam: { type: 'host-local', ranges: [[{ subnet: POD_RANGE }]], routes: [{ dst: '0.0.0.0/0' }] },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  });
}

export function kubeletConfig(options: {
  readonly caPath: string;
  readonly cgroupRoot: string;
  readonly resolvConf: string;
}): string {
  return YAML.stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: NODE_ADDRESS,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: options.caPath },
    },
    authorization: { mode: 'Webhook' },
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${options.cgroupRoot}`,
    failCgroupV1: false,
    failSwapOn: false,
    containerRuntimeEndpoint: `unix://${CONTAINERD_SOCKET}`,
    clusterDNS: [DNS_ADDRESS],
    clusterDomain: 'cluster.local',
    resolvConf: options.resolvConf,
    // A machine that is busy with tests may be short of disk and memory; pods must not be evicted for it.
    evictionHard: {
      'memory.available': '50Mi',
      'nodefs.available': '1%',
      'nodefs.inodesFree': '1%',
      'imagefs.available': '1%',
    },
    imageGCHighThresholdPercent: 100,
    serializeImagePulls: false,
    registryPullQPS: 0,
    kubeAPIQPS: 200,
    kubeAPIBurst: 400,
    readOnlyPort: 0,
    maxPods: 200,
  });
}

export function kubeProxyConfig(kubeconfig: string): string {
  return YAML.stringify({
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'iptables',
    bindAddress: NODE_ADDRESS,
    hostnameOverride: NODE_NAME,
    clientConnection: { kubeconfig },
    clusterCIDR: POD_RANGE,
    // All 0: leave the machine's connection tracking as it is.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
    iptables: { minSyncPeriod: '0s' },
  });
}

/** Answers for Services, pods and the registry, and says at once that nothing else exists. */
export function corefile(kubeconfig: string): string {
  return `cluster.local in-addr.arpa {
  bind ${NODE_ADDRESS}
  errors
  kubernetes {
    kubeconfig ${kubeconfig}
    pods insecure
    ttl 1
  }
}
${REGISTRY_NAME} {
  bind ${NODE_ADDRESS}
  errors
  hosts {
    ${NODE_ADDRESS} ${REGISTRY_NAME}
  }
}
. {
  bind ${NODE_ADDRESS}
  errors
  template ANY ANY {
    rcode NXDOMAIN
  }
}
`;
}
