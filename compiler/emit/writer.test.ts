import { expect, test } from 'vitest';
import { modelIdentifier } from './writer.js';

test('a model\'s identifier is neither a keyword, nor a name of the runtime, nor a header that the code includes', () => {
  expect(['main', 'spc', 'spc-runtime', 'special', 'Double', 'string', 'resnet-50 v1.5', '3layer', 'modèle'].map(modelIdentifier))
    .toEqual(['main_model', 'model_spc', 'model_spc_runtime', 'special', 'double_model', 'string_model', 'resnet_50_v1_5', 'n3layer', 'mod_le']);
});
