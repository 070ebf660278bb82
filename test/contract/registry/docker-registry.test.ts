// Debian's docker-registry 2.8.2: unsorted lists in one page.

import { startDockerRegistry } from '../../support/registries.ts';
import { describeRegistryContract } from './registry-contract.ts';

describeRegistryContract('docker-registry 2.8.2', startDockerRegistry, { pages: false });
