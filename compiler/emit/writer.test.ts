import { expect, test } from 'vitest';
import { modelIdentifier } from './writer.js';

test('a model\'s identifier is neither a keyword nor the name of a file that every output has', () => {
  expect(['main', 'spc', 'Double', 'resnet-50 v1.5', '3layer', 'modèle'].map(modelIdentifier))
    .toEqual(['main_model', 'spc_model', 'double_model', 'resnet_50_v1_5', 'n3layer', 'mod_le']);
});
