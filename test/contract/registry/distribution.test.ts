// distribution 3.1.2: sorted lists in pages.

import { startDistribution } from '../../support/registries.ts';
import { describeRegistryContract } from './registry-contract.ts';

describeRegistryContract('distribution 3.1.2', startDistribution, { pages: true });
