from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('wechat', '0003_roles'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='outboundmessage',
            index=models.Index(condition=models.Q(('to', 'erased'), _negated=True), fields=['created_at'], name='outbound_names_somebody'),
        ),
    ]
