# coding: utf-8
import os
other: dict = {'epochs': 3, "not known": [1, 2.5, -3e-2, None, (True, False)]}
cfg = {
    "model_name": "adv-efficientnet-b2".replace("adv-", ""), 'epochs': 2 * 3,
    '''optimizer''': "Ranger", 'scheduler': 'SGDR-5-2', "loss": "CE", 'img_size': [224, 192],
    "class_weight": [1, 2.0, 3], 'label_smooth': 0.1, 'epochs': 10,
    'train_path': "a\\b\x41\n", 'val_path': '', "eval_path": os.path.join("a", {"b": [1]}["b"]),
}
