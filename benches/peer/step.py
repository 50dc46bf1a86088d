"""The adversarial training step."""

import torch

from fill import fill, uniform
from networks import ResNet18, Viewmaker, viewmaker_simclr


def variants(_work, _skipped):
    return [
        "eager contiguous",
        "eager channels_last",
        "compiled contiguous",
        "compiled channels_last",
    ]


def build(work, variant):
    return Step(work, variant)


class Step:
    def __init__(self, work, variant):
        mode, layout = variant.split()
        self.format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        config = work["config"]
        self.batch, (channels, self.height, self.width) = work["batch"], work["input"]
        section, encoder = config["viewmaker"], config["encoder"]
        self.views = Viewmaker(
            channels,
            section["widths"],
            section["num_res_blocks"],
            section["distortion_budget"],
        )
        small = encoder["name"].endswith("-small")
        self.encoder = ResNet18(channels, small, encoder["embedding_dim"], work["after_view"])
        for net in (self.views, self.encoder):
            state = net.state_dict()
            net.load_state_dict({k: torch.from_numpy(fill(k, v.shape)) for k, v in state.items()})
            net.train().to(memory_format=self.format)
        self.temperature = config["objective"]["temperature"]
        self.alternating = work["update"] == "alternating"
        self.optimizers(config)
        self.make_views, self.embed = self.views, self.encoder
        if mode == "compiled":
            self.make_views = torch.compile(self.views, dynamic=False)
            self.embed = torch.compile(self.encoder, dynamic=False)
        x = uniform("x", (self.batch, channels, self.height, self.width))
        self.x = torch.from_numpy(x).contiguous(memory_format=self.format)

    def optimizers(self, config):
        sgd, adam = config["optim"]["encoder"], config["optim"]["viewmaker"]
        assert (sgd["name"], adam["name"]) == ("sgd", "adam"), "other optimisers"
        assert config["train"]["viewmaker_loss_weight"] == 1.0, "another weight of the loss"
        self.sgd = torch.optim.SGD(
            self.encoder.parameters(),
            sgd["lr"],
            momentum=sgd["momentum"],
            weight_decay=sgd["weight_decay"],
            fused=True,
        )
        # The viewmaker's loss is minus the encoder's: it climbs the same gradient.
        self.adam = torch.optim.Adam(
            self.views.parameters(),
            adam["lr"],
            betas=tuple(adam["betas"]),
            eps=adam["eps"],
            weight_decay=adam["weight_decay"],
            maximize=True,
            fused=True,
        )

    def random_noise(self, _pass, _view):
        shapes = self.views.noise_shapes(self.batch, self.height, self.width)
        return [torch.rand(shape) for shape in shapes]

    def loss(self, noise, number):
        views = [self.make_views(self.x, noise(number, view)) for view in (0, 1)]
        return viewmaker_simclr(*[self.embed(view) for view in views], self.temperature)

    def step(self, noise):
        """Returns the losses of the encoder's and the viewmaker's pass."""
        return self.alternate(noise) if self.alternating else self.both(noise)

    def both(self, noise):
        self.sgd.zero_grad()
        self.adam.zero_grad()
        loss = self.loss(noise, 0)
        loss.backward()
        self.sgd.step()
        self.adam.step()
        return loss, -loss

    def alternate(self, noise):
        self.sgd.zero_grad()
        with torch.no_grad():
            views = [self.make_views(self.x, noise(0, view)) for view in (0, 1)]
        first = viewmaker_simclr(*[self.embed(view) for view in views], self.temperature)
        first.backward()
        self.sgd.step()
        del views
        self.encoder.requires_grad_(False)
        self.adam.zero_grad()
        second = self.loss(noise, 1)
        second.backward()
        self.adam.step()
        self.encoder.requires_grad_(True)
        return first, -second

    def check(self):
        count = lambda net: [sum(p.numel() for p in net.parameters())]
        check = {
            "encoder parameters": count(self.encoder),
            "viewmaker parameters": count(self.views),
        }
        for number, name in enumerate(("first", "second")):

            def known(pass_, view):
                shapes = self.views.noise_shapes(self.batch, self.height, self.width)
                names = [f"noise.{number}.{pass_}.{view}.{i}" for i in range(len(shapes))]
                return [torch.from_numpy(uniform(n, s)) for n, s in zip(names, shapes)]

            losses = self.step(known)
            check[f"losses of the {name} step"] = [loss.item() for loss in losses]
        return check

    def run(self):
        self.step(self.random_noise)
