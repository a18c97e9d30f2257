from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='DayFigures',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField(unique=True, verbose_name='day')),
                ('followed', models.PositiveIntegerField(default=0, verbose_name='new followers')),
                ('unfollowed', models.PositiveIntegerField(default=0, verbose_name='lost followers')),
                ('members', models.PositiveIntegerField(default=0, verbose_name='new members')),
                ('visitors', models.PositiveIntegerField(default=0, verbose_name='visitors')),
                ('visits', models.PositiveIntegerField(default=0, verbose_name='visits')),
                ('orders', models.PositiveIntegerField(default=0, verbose_name='orders')),
                ('paid_orders', models.PositiveIntegerField(default=0, verbose_name='paid orders')),
                ('paid_fen', models.BigIntegerField(default=0, verbose_name='paid amount')),
                ('refunded_fen', models.BigIntegerField(default=0, verbose_name='refunded amount')),
                ('touched', models.PositiveIntegerField(default=0, verbose_name='touches')),
                ('opened', models.PositiveIntegerField(default=0, verbose_name='opened')),
                ('counted_at', models.DateTimeField(verbose_name='counted at')),
            ],
            options={
                'verbose_name': 'figures of a day',
                'verbose_name_plural': 'figures by day',
            },
        ),
        migrations.CreateModel(
            name='Watermark',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=40, unique=True)),
                ('last_id', models.BigIntegerField(default=0)),
            ],
            options={
                'verbose_name': 'watermark',
                'verbose_name_plural': 'watermarks',
            },
        ),
    ]
