import { test } from "vitest";
import { registerContract } from "../../runtime/ports/fenced-register.contract.ts";
import { RegisterModel, registerOver } from "./register-model.ts";

test.each(registerContract)("the simulated register: $name", ({ run }) =>
  run(async () => {
    const model = new RegisterModel(true);
    return { register: registerOver(async (request) => model.handle(request)), close: async () => {} };
  }),
);
