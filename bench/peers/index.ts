/** Other engines, from their Python wheels: bench/peers/run-<name>.py times one, <name>.txt pins what it needs. */
import { join } from 'node:path';
import { packageRoot } from '../../compiler/emit/runtime-files.js';

export interface PythonPeer {
  /** As tables call it. */
  readonly title: string;
  /** Of the wheel, read when its version was pinned. */
  readonly licence: string;
  /** Why its figures are printed but not written down; undefined where they may be published. */
  readonly unpublished?: string;
}

export const pythonPeers = {
  openvino: { title: 'OpenVINO', licence: 'Apache-2.0' },
  deepsparse: {
    title: 'DeepSparse',
    // 1.9.0, the last release, is a notice of its end without an engine; 1.8.0 is the last that runs
    licence: 'Neural Magic DeepSparse Community License (evaluation in development and testing environments)',
    unpublished: 'the licence has no word on benchmark figures, but the NOTICE beside it subjects the package to legal policies that are not in the wheel',
  },
  tvm: { title: 'TVM', licence: 'Apache-2.0' },
} as const satisfies Readonly<Record<string, PythonPeer>>;

export type PythonPeerName = keyof typeof pythonPeers;
export const pythonPeerNames = Object.keys(pythonPeers) as PythonPeerName[];

/** What a peer's environment holds, as pip reads it. */
export const requirementsOf = (name: PythonPeerName): string => join(packageRoot(), 'bench', 'peers', `${name}.txt`);

export const isPythonPeer = (name: string): name is PythonPeerName => Object.hasOwn(pythonPeers, name);
export const mayPublish = (name: string): boolean => !isPythonPeer(name) || !('unpublished' in pythonPeers[name]);
